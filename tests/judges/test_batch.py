"""Batches: nothing is submitted twice, nothing is lost, only what is missing is sent again."""

import importlib.util
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from harness.errors import (
    BatchPendingError,
    CheckError,
    JudgeError,
    JudgeIdentityError,
    JudgeRefusedError,
)
from harness.judges import batch, batch_api, costs
from harness.judges.batch import cached_judge
from harness.judges.cached import CachedJudge, judge_options
from harness.judges.client import OpenAIClient
from harness.judges.session import FIRST_REPLIES
from harness.types import JudgeRequest, Message, ParsedVerdict

HERE = Path(__file__).parent
SPEC = importlib.util.spec_from_file_location("batch_server", HERE / "batch_server.py")
batch_server = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(batch_server)
serving = batch_server.serving
COUNT = 20


class Reader:
    def parse(self, replies):
        text = replies[-1].content
        return ParsedVerdict(float(text)) if text.replace(".", "").isdigit() else None

    def follow_up(self, request, replies):
        return request


READER = Reader()


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(batch, "FIRST_POLL_SECONDS", 0.01)
    monkeypatch.setattr(batch, "LONGEST_POLL_SECONDS", 0.02)
    monkeypatch.setattr(batch_api, "FIRST_PAUSE", 0.01)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "v.sqlite"


def requests(count=COUNT):
    return [
        JudgeRequest(str(i), (Message("user", f"say {i}"),), {"max_tokens": 1})
        for i in range(count)
    ]


def judge(api, path, *, resume=False, **terms):
    client = OpenAIClient(model="j", base_url=api.url, timeout=5)
    return cached_judge(client, path, judge_options(batch=True, resume=resume, **terms))


def submit(api, path):
    with pytest.raises(BatchPendingError, match="--resume"):
        judge(api, path).judge(requests(), READER, lambda _: None)


def fetch(api, path, **terms):
    steps = []
    verdicts = judge(api, path, resume=True, **terms).judge(requests(), READER, steps.append)
    assert sum(steps) == COUNT
    assert [verdict.parsed.value for verdict in verdicts] == list(range(COUNT))


def sent(api):
    """Return how many lines were sent in all, and in how many batches."""
    return sum(len(batch["_lines"]) for batch in api.batches.values()), len(api.batches)


def test_submitted_now_and_fetched_later(path):
    with serving(polls=3) as api:
        submit(api, path)
        submit(api, path)  # again: nothing is submitted twice
        assert sent(api) == (COUNT, 1)
        fetch(api, path)
        fetch(api, path)  # again: nothing is asked
        assert sent(api) == (COUNT, 1)
        assert api.events["make files"] == api.events["make batches"] == 1


def test_asking_call_by_call_names_the_pending_batch(path):
    with serving() as api:
        submit(api, path)
        client = OpenAIClient(model="j", base_url=api.url)
        with pytest.raises(BatchPendingError, match="20 requests are in a batch"):
            CachedJudge(client=client, store=path).judge(requests(), READER, lambda _: None)


@pytest.mark.parametrize(
    ("rules", "again"),
    [
        ({"missing": 3}, 3),
        ({"doubled": 5}, 0),
        ({"errors": 4}, 4),
        ({"errors": 2, "missing": 2, "doubled": 3}, 4),
        ({"state": "expired", "missing": 12}, 12),
        ({"state": "cancelled", "missing": COUNT}, COUNT),
    ],
    ids=str,
)
def test_only_what_is_missing_is_sent_again(path, rules, again):
    with serving(**rules) as api:
        submit(api, path)
        fetch(api, path)
        assert sent(api) == (COUNT + again, 1 + (again > 0))


@pytest.mark.parametrize(
    "rules",
    [
        {"lose": ["make files"]},
        {"lose": ["make batches"]},
        {"lose": ["get files", "get batches", "list files", "list batches"]},
        {"refuse": {"make files": 500, "make batches": 503, "get batches": 429, "get files": 502}},
    ],
    ids=str,
)
def test_an_answer_that_was_lost_submits_nothing_twice(path, rules):
    with serving(**rules) as api:
        submit(api, path)
        fetch(api, path)
        assert sent(api) == (COUNT, 1)
        assert len(api.listed()) == 1


def test_a_batch_of_which_everything_is_refused_is_not_sent_again(path):
    with serving(errors=COUNT, error_status=400) as api:
        submit(api, path)
        with pytest.raises(JudgeRefusedError, match=r"refused \(400: .*some_error"):
            fetch(api, path)
        assert sent(api) == (COUNT, 1)


@pytest.mark.parametrize(
    ("count", "code"), [(2, "some_error"), (COUNT - 1, "context_length_exceeded")]
)
def test_requests_that_are_refused_by_themselves_leave_the_others_alone(path, count, code):
    with serving(errors=count, error_status=400, error_code=code) as api:
        submit(api, path)
        for _ in range(2):  # the second time nothing is asked
            verdicts = judge(api, path, resume=True).judge(requests(), READER, lambda _: None)
            refused = [verdict for verdict in verdicts if verdict.parsed is None]
            assert {verdict.refusal for verdict in refused} == {f"400: {code}: no"}
            assert len(refused) == count
        assert sent(api) == (COUNT, 1)
        bill = judge(api, path).usage(requests(), READER)
        assert (bill.calls, bill.refused, bill.failed) == (COUNT, count, 0)


def test_a_line_that_never_comes_back_leaves_its_verdict_missing_with_the_reason(path):
    with serving(never=("3", "7")) as api:
        submit(api, path)
        verdicts = judge(api, path, resume=True).judge(requests(), READER, lambda _: None)
        assert sent(api) == (COUNT + 3 * 2, 4)
        assert {v.request_id: v.refusal for v in verdicts if v.parsed is None} == dict.fromkeys(
            ("3", "7"), "no reply in 4 batches (its line was missing)"
        )
        assert judge(api, path).judge(requests(), READER, lambda _: None) == verdicts
        assert sent(api) == (COUNT + 3 * 2, 4)


def test_many_lines_that_never_come_back_are_the_judges_fault(path):
    with serving(never=tuple(map(str, range(5)))) as api:
        submit(api, path)
        with pytest.raises(JudgeError, match="returned 5 requests without a reply"):
            judge(api, path, resume=True).judge(requests(), READER, lambda _: None)
        assert sent(api) == (COUNT + 3 * 5, 4)


def test_a_batch_of_which_no_reply_can_be_parsed_is_not_asked_again_whole(path):
    with serving(says="I cannot say") as api:
        many = requests(3 * FIRST_REPLIES)
        with pytest.raises(BatchPendingError):
            judge(api, path).judge(many, READER, lambda _: None)
        asked = judge(api, path, resume=True)
        message = "none of the first 20 replies .* no verdict, but e.g. 'I cannot say'"
        with pytest.raises(CheckError, match=message):
            asked.judge(many, READER, lambda _: None)
        assert sent(api) == (3 * FIRST_REPLIES, 1)
        with pytest.raises(CheckError, match=message):  # a few show that nothing has changed
            asked.judge(many, READER, lambda _: None)
        assert sent(api) == (4 * FIRST_REPLIES, 2)


def test_a_key_that_is_said_back_is_not_kept(path, monkeypatch, tmp_path):
    key = "sk-proj-4rNq8VtZ2mXw7Lc5"
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with serving(errors=2, error_code=key, says=key) as api:
        few = requests(FIRST_REPLIES - 1)  # of more that cannot be parsed no other is asked
        verdicts = judge(api, path, resume=True).judge(few, READER, lambda _: None)
    assert {verdict.text for verdict in verdicts if verdict.text} == {"\n".join(["***"] * 5)}
    assert all(key.encode() not in file.read_bytes() for file in tmp_path.iterdir())


def test_a_batch_that_is_called_by_the_key_is_refused(path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "batch_0x4rNq8VtZ2mXw7")
    message = "calls a batch or its file by the key"
    with (
        serving(called="batch_0x4rNq8VtZ2mXw7") as api,
        pytest.raises(JudgeError, match=message),
    ):
        judge(api, path).judge(requests(), READER, lambda _: None)


def test_a_batch_that_is_refused_as_a_whole_is_reported(path):
    with serving(state="failed") as api:
        submit(api, path)
        with pytest.raises(JudgeRefusedError, match="bad file"):
            fetch(api, path)


def test_without_a_key_that_is_valid_nothing_is_lost(path):
    with serving(refuse={"make batches": 401}) as api:
        with pytest.raises(JudgeRefusedError, match="401"):
            judge(api, path).judge(requests(), READER, lambda _: None)
        submit(api, path)
        fetch(api, path)
        assert sent(api) == (COUNT, 1)
        assert len(api.listed()) == 1


def test_another_models_batch_is_in_quarantine(path):
    with serving(model="k") as api:
        submit(api, path)
        with pytest.raises(JudgeIdentityError, match="20 of its replies"):
            fetch(api, path)
        fetch(api, path, accepted=["k"])
        assert sent(api) == (COUNT, 1)


def test_a_batch_costs_half(path):
    with serving(model="gpt-4.1-2025-04-14") as api:
        client = OpenAIClient(model="gpt-4.1-2025-04-14", base_url=api.url)
        for resume in (False, True):
            asked = cached_judge(client, path, judge_options(batch=True, resume=resume))
            if not resume:
                with pytest.raises(BatchPendingError):
                    asked.judge(requests(), READER, lambda _: None)
        asked.judge(requests(), READER, lambda _: None)
        # 20 calls of 100 tokens at $2 a million and one at $8, halved
        assert asked.usage(requests(), READER).dollars == pytest.approx(20 * 0.000208 / 2)


def test_large_runs_are_divided(monkeypatch):
    monkeypatch.setattr(batch, "LARGEST_LINES", 8)
    bodies = {str(i): {"x": i} for i in range(COUNT)}
    assert [len(part) for part in batch.split_batches(bodies)] == [8, 8, 4]
    monkeypatch.setattr(batch, "LARGEST_BYTES", 300)
    assert [len(part) for part in batch.split_batches(bodies)] == [1] * COUNT


PROGRAM = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
import test_batch
from types import SimpleNamespace
from harness.errors import BatchPendingError, JudgeError, JudgeIdentityError, JudgeRefusedError
from harness.judges import batch, batch_api, costs
batch.FIRST_POLL_SECONDS = batch_api.FIRST_PAUSE = 0.01
api = SimpleNamespace(url=sys.argv[1])
print("go", flush=True)
sys.stdin.readline()
test_batch.judge(api, Path(sys.argv[2]), resume=True).judge(
    test_batch.requests(), test_batch.READER, lambda _: None)
"""
STEPS = ("list files", "make files", "list batches", "make batches", "get batches", "get files")


MANY = [(step, when) for step in STEPS for when in ("before", "after")]
FEW = [("make files", "after"), ("make batches", "after"), ("get files", "after")]
LARGE = [pytest.param(*step, marks=pytest.mark.faults) for step in MANY if step not in FEW]


@pytest.mark.parametrize(("event", "when"), [*FEW, *LARGE])
def test_a_kill_between_any_two_steps_submits_nothing_twice(path, event, when):
    with serving(missing=2, kill={"event": event, "when": when}) as api:
        command = [sys.executable, "-c", PROGRAM, api.url, str(path), str(HERE)]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout.readline() == "go\n"
            api.victim = process.pid
            process.stdin.write("\n")
            process.stdin.flush()
            assert process.wait(60) == -9
        fetch(api, path)
        assert sent(api) == (COUNT + 2, 2)
        assert len(api.listed()) == 2


def test_two_processes_at_once_submit_one_batch(path, monkeypatch):
    # both plan and look before either has created anything, unless one waits for the other
    create = batch_server.API.create

    def create_slowly(self, body):
        time.sleep(0.3)
        return create(self, body)

    monkeypatch.setattr(batch_server.API, "create", create_slowly)
    with serving() as api, ThreadPoolExecutor(2) as pool:
        started = [pool.submit(submit, api, path)]
        time.sleep(0.1)
        started.append(pool.submit(submit, api, path))
        for task in started:
            task.result()
        assert sent(api) == (COUNT, 1)


def test_a_batch_is_submitted_as_far_as_the_budget_covers_its_longest_replies(path, monkeypatch):
    price = costs.Price(prompt=0, completion=1e6, since="2020-01-01", source="a dollar a token")
    monkeypatch.setattr(costs, "price_of", lambda model: price)
    with serving() as api:
        with pytest.raises(BatchPendingError, match="5 requests have been submitted"):
            judge(api, path, budget=5).judge(requests(), READER, lambda _: None)
        assert sent(api) == (5, 1)


def parts(api):
    """Return how many lines each batch had that was not over the limit."""
    counts = [len(batch["_lines"]) for batch in api.batches.values()]
    return [n for i, n in enumerate(counts) if not api.is_over_limit(i, n)]


@pytest.mark.parametrize(("most", "status"), [(7, None), (7, 400), (19, 429)])
def test_a_batch_over_the_accounts_token_limit_is_split_and_goes_on(path, status, most):
    with serving(most=most, limit_status=status) as api:
        submit(api, path)
        fetch(api, path)
        assert sum(parts(api)) == COUNT
        assert most / 2 - 1 < max(parts(api)) <= most  # 20 are halved until they fit


def test_a_token_limit_without_a_number_is_one_too(path):
    with serving(most=6, says_limit="enqueued token quota exceeded") as api:
        submit(api, path)
        fetch(api, path)
        assert sum(parts(api)) == COUNT


def test_a_limit_that_is_named_is_kept_from_the_next_batch_on(path):
    with serving(most=9, says_limit="Enqueued token limit reached. Limit: 160 tokens.") as api:
        submit(api, path)
        fetch(api, path)
        # a request has about 75 characters, so that 0.8 of 160 tokens at four each hold six
        assert parts(api) == [6, 6, 6, 2]
        assert len(api.batches) == 1 + 4


def test_a_batch_that_fits_waits_for_others_of_the_account(path, monkeypatch):
    pauses = []
    monkeypatch.setattr(batch, "_wait_for_others", lambda bodies, reason: pauses.append(reason))
    with serving(busy=2) as api:
        submit(api, path)
        fetch(api, path)
        assert sum(parts(api)) == COUNT
    assert pauses == ["over the account's limit of 90000 tokens in batches"] * 2


def test_a_wait_is_for_batches_that_fit_only(monkeypatch):
    pauses = []
    monkeypatch.setattr(batch.time, "sleep", pauses.append)
    bodies = {"a": {"text": "x" * 400}}
    for limit in (50, 1000):  # of about 100 tokens
        batch._wait_for_others(bodies, f"over the account's limit of {limit} tokens in batches")
    batch._wait_for_others(bodies, "over the account's limit of an unknown number of tokens")
    assert pauses == [batch.LONGEST_POLL_SECONDS]


def test_a_single_request_over_the_limit_ends_the_run(path, monkeypatch):
    monkeypatch.setattr(batch, "_wait_for_others", lambda bodies, reason: None)
    with serving(busy=99) as api:
        submit(api, path)
        with pytest.raises(JudgeError, match="no batch of a single request"):
            fetch(api, path)
        assert len(api.batches) < 12


@pytest.mark.parametrize(
    ("code", "message", "reason"),
    [
        ("token_limit_exceeded", "no", "over the account's limit of an unknown number of tokens"),
        (None, "Enqueued token limit reached. Limit: 90,000 enqueued", "limit of 90000 tokens"),
        (None, "The enqueued token quota (limit of 5000 tokens) is used up", "limit of 5000 tok"),
        ("rate_limit_exceeded", "Rate limit reached. Limit: 3 requests", ""),
        (None, None, ""),
    ],
)
def test_token_limits_are_known_by_code_and_text(code, message, reason):
    known = batch_api.over_limit(code, message)
    assert (reason in known) if reason else known == ""


def test_counts_that_cannot_be_are_left_out(path, monkeypatch):
    poll = batch_server.API.poll

    def hostile_poll(self, name):
        counts = {"total": None, "completed": "many", "failed": [1]}
        return poll(self, name) | {"request_counts": counts}

    monkeypatch.setattr(batch_server.API, "poll", hostile_poll)
    monkeypatch.setattr(batch_api, "ATTEMPTS", 2)
    with serving() as api:
        submit(api, path)
        fetch(api, path)

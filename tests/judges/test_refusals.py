"""Requests that are refused: one alone leaves the run going, all of them stop it at once."""

import pytest

from harness.core.refusals import classify_refusal, refuses_everything
from harness.errors import JudgeRefusedError
from harness.evaluation.run import mass_notes, refusal_notes
from harness.judges.cached import CachedJudge
from harness.judges.client import OpenAIClient
from harness.judges.store import maintenance
from harness.types import Graded, JudgeRequest, Message, ParsedVerdict, Verdict
from tests.judges import stub_server

COUNT = 60
LONG = "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens"


def server(refuse):
    """Serve a judge that answers with the last word; `refuse(word)` returns an error, or None."""

    def rule(word):
        status, code, message = refuse(word) or (200, None, None)
        kind = "invalid_request_error"
        error = {"message": message, "type": kind, "param": None, "code": code}
        return (status, {"error": error}, 0) if message else None

    return stub_server.server(rule)


def judge(served, path, **fields):
    url = f"http://127.0.0.1:{served.server_port}/v1"
    return CachedJudge(client=OpenAIClient(model="j", base_url=url, **fields), store=path)


def requests(count=COUNT):
    asked = {"max_tokens": 1}
    return [JudgeRequest(str(i), (Message("user", f"say {i}"),), asked) for i in range(count)]


def grade(served, path, count=COUNT, **fields):
    return judge(served, path, **fields).judge(requests(count), stub_server.READER, lambda _: None)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "v.sqlite"


ALONE = [
    (400, "context_length_exceeded", LONG),
    (400, None, LONG),  # vLLM
    (400, "content_filter", "The response was filtered"),  # Azure
    (400, "content_policy_violation", "Your request was rejected by our safety system"),
    (400, "string_above_max_length", "Invalid 'messages[0].content': string too long"),
    (400, "invalid_prompt", "Invalid prompt: your prompt was flagged"),
    (400, "exceed_context_size_error", "the request exceeds the available context size"),
    (413, None, "Payload Too Large"),
    (422, None, "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096"),
    (429, "rate_limit_exceeded", "Request too large for j on tokens per min (TPM): Limit 10000"),
    (403, None, "Your chosen model requires moderation and your input was flagged"),  # OpenRouter
    (451, None, "unavailable for legal reasons: content"),
    (403, "forbidden", "no word of why"),
    (400, "wrong_model", "no word of why"),  # one of many that are answered
]
OF_ALL = [
    (400, "unsupported_parameter", "Unsupported parameter: 'max_tokens' is not supported"),
    (400, None, "max_tokens is too large: 4096. This model supports at most 2048"),
    (422, None, "Extra inputs are not permitted"),
    (403, "forbidden", "The key may not use this model"),
]


@pytest.mark.parametrize(("status", "code", "message"), ALONE)
@pytest.mark.parametrize("concurrency", [1, 16])
def test_one_that_is_refused_alone_leaves_the_run_going(path, status, code, message, concurrency):
    # the first, so that nothing has been answered before, and two of the others
    odd = {0, 17, 40}
    with server(lambda word: (status, code, message) if word in odd else None) as served:
        verdicts = grade(served, path, concurrency=concurrency)
        again = grade(served, path, concurrency=concurrency)
        assert len(served.asked) == COUNT  # none of them twice
    assert again == verdicts
    for i, verdict in enumerate(verdicts):
        assert verdict.parsed == (None if i in odd else ParsedVerdict(float(i)))
        assert bool(verdict.refusal) == (i in odd)
    assert f"{status}: " in verdicts[0].refusal
    assert message in verdicts[0].refusal
    bill = judge(served, path).usage(requests(), stub_server.READER)
    assert (bill.calls, bill.refused, bill.failed, bill.unparsed) == (COUNT, 3, 0, 0)
    assert maintenance.verify(path) == maintenance.StoreHealth(COUNT, ())


@pytest.mark.parametrize(("status", "code", "message"), OF_ALL)
@pytest.mark.parametrize("concurrency", [1, 2, 3, 64])
def test_what_is_refused_every_time_stops_the_run_at_once(path, status, code, message, concurrency):
    with server(lambda _: (status, code, message)) as served:
        with pytest.raises(JudgeRefusedError, match=f"refuses .{status}: .*--judge"):
            grade(served, path, concurrency=concurrency)
        assert len(served.asked) <= 3
        # once the server is mended nothing of that is remembered
        served.rule = lambda _: None
        verdicts = grade(served, path)
    assert [verdict.parsed.value for verdict in verdicts] == list(range(COUNT))


def test_a_refusal_of_the_only_request_is_an_error(path):
    with server(lambda _: OF_ALL[0]) as served, pytest.raises(JudgeRefusedError):
        grade(served, path, count=1)


def test_prompts_that_are_all_too_long_stop_the_run_early(path):
    with server(lambda _: ALONE[0]) as served, pytest.raises(JudgeRefusedError, match="4096"):
        grade(served, path)
    assert len(served.asked) <= 12  # ten, and what was under way


def test_a_server_that_begins_to_refuse_everything_stops_the_run(path):
    with server(lambda word: OF_ALL[0] if word >= 20 else None) as served:
        with pytest.raises(JudgeRefusedError, match="unsupported_parameter"):
            grade(served, path, concurrency=4)
        assert len(served.asked) <= 20 + 3 + 4


def test_what_was_refused_is_asked_again_where_that_is_wanted(path):
    with server(lambda word: ALONE[0] if word in (3, 4) else None) as served:
        grade(served, path)
        served.rule = lambda _: None
        assert grade(served, path)[3].refusal
        verdicts = grade(served, path, retry_missing=True)
        assert [verdict.parsed.value for verdict in verdicts] == list(range(COUNT))
        assert grade(served, path) == verdicts  # an answer outweighs the refusal before it
        assert len(served.asked) == COUNT + 2


def test_the_note_says_how_many_and_why(path):
    with server(lambda word: ALONE[0] if word in (3, 4) else None) as served:
        verdicts = grade(served, path)
    (note,) = refusal_notes(Graded("x", "j", (), (), tuple(verdicts)))
    assert "2 of 60 requests have no verdict" in note
    assert "refused them or never replied (2 x 400: context_length" in note
    assert "--retry-unread" in note
    assert refusal_notes(Graded("x", "j", (), (), tuple(verdicts[10:]))) == []


@pytest.mark.parametrize(
    ("answered", "explained", "unexplained", "expected"),
    [
        (0, 9, 0, False),
        (0, 10, 0, True),
        (0, 0, 2, False),
        (0, 0, 3, True),
        (1, 29, 0, False),  # refusals come sooner than answers
        (11, 29, 0, False),
        (10, 30, 0, True),
        (37, 0, 3, False),
        (36, 0, 4, True),
        (745, 0, 60, False),  # of a batch as a whole 7.5 %
        (744, 0, 61, True),
    ],
)
def test_when_refusals_are_of_all(answered, explained, unexplained, expected):
    assert refuses_everything(answered, explained, unexplained) == expected


@pytest.mark.parametrize("status", [401, 402, 404, 429, 500])
def test_other_refusals_are_never_of_one_request(status):
    assert classify_refusal(status, ("insufficient_quota",), "told") is None


def test_verdicts_from_unlikely_tokens_are_counted_in_a_note():
    masses = (0.02, 0.0999, 0.1, 0.9, None)
    verdicts = [Verdict(str(m), ParsedVerdict(1.0, mass=m), "j") for m in masses]
    verdicts.append(Verdict("unparsed", None, "j"))
    (note,) = mass_notes(Graded("x", "j", (), (), tuple(verdicts)))
    assert note.startswith("2 of 6 verdicts rest on less than 10% of the judge's probability")
    assert mass_notes(Graded("x", "j", (), (), tuple(verdicts[2:]))) == []

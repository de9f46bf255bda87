"""Who answers, what it costs, and who decides: identity, ledger, prices, panels, replays."""

import datetime
import json

import pytest

from harness.core.config import build, load
from harness.errors import BudgetError, ConfigError, JudgeError, JudgeIdentityError
from harness.judges import chat_format, costs, model_check
from harness.judges.batch import cached_judge
from harness.judges.cached import CachedJudge, ReplayClient, judge_options
from harness.judges.client import OpenAIClient
from harness.judges.panel import JudgePanel, panel_verdict
from harness.judges.store.database import open_store
from harness.protocols import Judge, JudgeClient, PersistentJudge
from harness.types import JudgeRequest, Message, ParsedVerdict, RawReply, Reply, Verdict


class Client:
    """Answers `1`; says which model it served, in the order of `serves`."""

    served_as, unparsed_attempts = (), 2
    url, concurrency, retry_missing, display_name = "", 1, False, "the judge"

    def __init__(self, model="gpt-4-1106-preview", serves=(), content="1", prompt_tokens=1000):
        self.model, self.serves, self.content, self.asked = model, list(serves), content, 0
        self.prompt_tokens = prompt_tokens

    def body(self, request):
        return chat_format.body_of(self.model, request)

    def ask(self, queue):
        while (item := queue.next()) is not None:
            self.asked += 1
            served = self.serves.pop(0) if self.serves else self.model
            reply = Reply(self.content, None, "stop", served, self.prompt_tokens, 1)
            text = json.dumps(chat_format.completion_of(reply, item[1]))
            queue.keep([RawReply(item[0], text, 2.0)])


class Reader:
    def parse(self, replies):
        text = replies[-1].content
        return ParsedVerdict(float(text)) if text else None

    def follow_up(self, request, replies):
        return request


READER = Reader()


def requests(count, length=4000):
    turns = [(Message("user", f"{i:04d}" + "x" * (length - 4)),) for i in range(count)]
    return [JudgeRequest(str(i), turn, {"max_tokens": 1}) for i, turn in enumerate(turns)]


def grade(client, path, count=5, **terms):
    judge = CachedJudge(client=client, store=path, options=judge_options(**terms))
    return judge, judge.judge(requests(count), READER, lambda _: None)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "v.sqlite"


def test_another_model_stops_the_run_and_its_verdict_is_in_quarantine(path):
    client = Client(serves=["gpt-4-1106-preview"] * 2 + ["gpt-4-turbo-2024-04-09"] * 9)
    with pytest.raises(JudgeIdentityError, match="--accept-judge gpt-4-turbo-2024-04-09"):
        grade(client, path)
    assert client.asked == 3
    with open_store(path) as store:
        rows = store.connection.execute("SELECT status, model FROM attempt ORDER BY rowid")
        assert rows.fetchall()[2] == ("quarantined", "gpt-4-turbo-2024-04-09")
    again = Client()
    judge, verdicts = grade(again, path)
    assert again.asked == 3
    assert {verdict.model for verdict in verdicts} == {"gpt-4-1106-preview"}
    assert judge.usage(requests(5), READER).quarantined == 1


def test_a_model_that_was_accepted_counts_and_is_named(path):
    client = Client(serves=["other"] * 5)
    _, verdicts = grade(client, path, accepted=["other"])
    assert [verdict.model for verdict in verdicts] == ["other"] * 5
    assert grade(Client(), path, accepted=["other"])[1] == verdicts
    later = Client()
    grade(later, path)  # no longer accepted, so that it is asked anew
    assert later.asked == 5


def test_a_server_that_names_no_model_is_a_stranger_too(path):
    with pytest.raises(JudgeIdentityError, match="served unnamed"):
        grade(Client(serves=[""] * 5), path)


@pytest.mark.parametrize(
    ("model", "url", "moving"),
    [
        ("gpt-4.1", "https://api.openai.com/v1", True),
        ("gpt-4o", "https://api.openai.com/v1", True),
        ("gpt-4.1-2025-04-14", "https://api.openai.com/v1", False),
        ("gpt-4-1106-preview", "https://api.openai.com/v1", False),
        ("gpt-4-0613", "https://api.openai.com/v1", False),
        ("gemini-2.5-pro", "https://generativelanguage.googleapis.com/v1beta/openai", True),
        ("gpt-4.1", "http://127.0.0.1:8000/v1", False),
        ("my-model", "https://models.example.org/v1", False),
    ],
)
def test_aliases_are_known(model, url, moving):
    assert model_check.is_alias(model, url) == moving


def test_an_alias_is_refused_before_anything_is_asked(path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-x")
    judge = CachedJudge(
        client=OpenAIClient(model="gpt-4o", base_url="https://api.openai.com/v1"), store=path
    )
    with pytest.raises(JudgeIdentityError, match="is an alias"):
        judge.judge(requests(1), READER, lambda _: None)


def test_the_budget_is_a_hard_limit(path):
    # 1,000 tokens at $10 a million and one at $30: $0.01003 a call
    client = Client()
    with pytest.raises(BudgetError, match=r"\$0.05 is spent \(\$0.04"):
        grade(client, path, count=20, budget=0.05)
    assert client.asked == 4
    more = Client()
    with pytest.raises(BudgetError):
        grade(more, path, count=20, budget=0.05)
    assert more.asked == 4
    judge, _ = grade(Client(), path, count=20, budget=1)
    bill = judge.usage(requests(20), READER)
    assert (bill.calls, bill.failed, bill.estimated) == (20, 0, 0)
    assert bill.dollars == pytest.approx(20 * 0.01003)
    assert bill.seconds == 2.0
    assert "since 2023-11-06" in bill.price


class LongReplies(Client):
    """Eight in flight; short replies arrive first, and long ones last."""

    def ask(self, queue):
        lengths = {}
        while True:
            while len(lengths) < 8 and (item := queue.next()) is not None:
                lengths[item[0]] = (20 if self.asked % 2 else 400, item[1])
                self.asked += 1
            if not lengths:
                return
            index = min(lengths, key=lambda i: (lengths[i][0], i))
            tokens, body = lengths.pop(index)
            reply = Reply("1", None, "stop", self.model, self.prompt_tokens, tokens)
            text = json.dumps(chat_format.completion_of(reply, body))
            queue.keep([RawReply(index, text, 2.0)])


@pytest.mark.parametrize("budget", [0.1, 0.35, 1.0])
def test_a_budget_is_kept_where_the_long_replies_arrive_last(path, budget):
    # 1,000 prompt tokens at $10 and up to 400 at $30 a million: at most $0.022 a call
    turns = [
        JudgeRequest(r.id, r.messages, {"max_tokens": 400}) for r in requests(200, length=4000)
    ]
    judge = CachedJudge(client=LongReplies(), store=path, options=judge_options(budget=budget))
    with pytest.raises(BudgetError, match="next request may cost"):
        judge.judge(turns, READER, lambda _: None)
    assert budget - 0.023 < judge.usage(turns, READER).dollars <= budget


def test_a_usage_that_cannot_be_is_estimated(path):
    judge, _ = grade(Client(prompt_tokens=-1_000_000), path, count=3)
    bill = judge.usage(requests(3), READER)
    assert (bill.prompt_tokens, bill.estimated) == (3000, 3)
    assert bill.dollars == pytest.approx(3 * 0.01003)


def test_failures_that_cost_more_than_the_budget_end_the_run(path):
    class Failing(Client):
        def ask(self, queue):
            index, _ = queue.next()
            for _ in range(100):
                self.asked += 1
                queue.record_failure(index, "no answer in time")

    client = Failing()
    with pytest.raises(BudgetError):
        grade(client, path, count=2, budget=0.05)
    assert client.asked == 4  # each may have cost $0.0106, and so may the next


def test_unparsed_replies_are_paid_for(path):
    judge, verdicts = grade(Client(content=""), path, count=3)
    assert [verdict.parsed for verdict in verdicts] == [None] * 3
    bill = judge.usage(requests(3), READER)
    assert (bill.calls, bill.unparsed) == (6, 6)


def test_tries_without_a_reply_are_on_the_bill_by_a_guess(path):
    class Failing(Client):
        def ask(self, queue):
            index, body = queue.next()
            queue.record_failure(index, "no answer in time")
            raise JudgeError("gone")

    judge = CachedJudge(client=Failing(), store=path)
    with pytest.raises(JudgeError):
        judge.judge(requests(2), READER, lambda _: None)
    bill = judge.usage(requests(2), READER)
    assert (bill.calls, bill.failed, bill.estimated) == (1, 1, 1)
    assert bill.prompt_tokens == 1000  # 4,000 characters, four a token


def test_a_budget_needs_a_price(path):
    with pytest.raises(ConfigError, match="no price of mystery"):
        grade(Client(model="mystery"), path, budget=1)


def test_a_forecast_is_what_it_then_costs(path):
    judge = CachedJudge(client=Client(), store=path)
    estimate = judge.estimate_cost(requests(10), READER)
    assert (estimate.calls, estimate.completion_tokens) == (10, 10)
    assert not path.exists()
    grade(Client(), path, count=4)
    later = judge.estimate_cost(requests(10), READER)
    assert later.calls == 6
    assert "2.0 s a call as before" in later.grounds
    # one call at a time (the client names no number), of two seconds each
    assert later.minutes == pytest.approx(6 * 2 / 60)


def test_the_price_is_that_of_the_day(monkeypatch, tmp_path):
    folder = tmp_path / "configs" / "prices"
    folder.mkdir(parents=True)
    lines = [
        f"{{prompt: {p}, completion: 1, since: {d}, source: s}}"
        for p, d in ((1, "2025-01-01"), (2, "2026-01-01"))
    ]
    text = "use: harness.judges.costs:Prices\nmodels:\n  m:\n"
    (folder / "mine.yaml").write_text(text + "".join(f"  - {line}\n" for line in lines))
    monkeypatch.chdir(tmp_path)
    day = datetime.date
    assert costs.price_of("m", day(2024, 12, 31)) is None
    assert costs.price_of("m", day(2025, 12, 31)).prompt == 1
    assert costs.price_of("m", day(2026, 1, 1)).prompt == 2


def test_a_batch_costs_its_share():
    price = costs.price_of("gpt-4.1-2025-04-14")
    assert price.dollars(1_000_000, 1_000_000) == pytest.approx(2 + 8)
    assert price.dollars(1_000_000, 1_000_000, batched=True) == pytest.approx(5)


def test_every_price_has_a_source_and_a_page():
    for rows in build(load("prices", "openai")).models.values():
        assert all(row.source and row.page.startswith("https://") for row in rows)


def price(**fields):
    estimate = {
        "prompt": 1,
        "completion": 2,
        "since": "2025-01-01",
        "source": "s",
        "page": "https://p",
    }
    return costs.Price(**estimate | fields)


def test_a_price_that_nobody_has_looked_up_for_long_is_doubted():
    looked, day = datetime.date(2026, 1, 1), datetime.date(2026, 6, 30)  # 180 days later
    assert price(checked=looked).staleness(day) == ""
    estimate = price(checked=looked).staleness(day + datetime.timedelta(days=1))
    assert "looked up 181 days ago" in estimate
    assert "https://p" in estimate
    assert "configs/prices/mine.yaml" in estimate
    assert "looked up long ago" in price().staleness(day)
    assert price(prompt=0, completion=0).staleness(day) == costs.FREE.staleness() == ""
    assert "since 2025-01-01, looked up 2026-01-01 (s)" in price(checked=looked).description


def test_a_price_that_was_looked_up_again_outweighs_the_older_look(monkeypatch, tmp_path):
    folder = tmp_path / "configs" / "prices"
    folder.mkdir(parents=True)
    line = "{prompt: 10, completion: 30, since: 2023-11-06, checked: 2026-11-01, source: mine}"
    text = f"use: harness.judges.costs:Prices\nmodels:\n  gpt-4-1106-preview:\n  - {line}\n"
    (folder / "mine.yaml").write_text(text)
    assert costs.price_of("gpt-4-1106-preview").source != "mine"
    monkeypatch.chdir(tmp_path)
    assert costs.price_of("gpt-4-1106-preview").source == "mine"


def test_a_forecast_tells_the_doubt(path):
    estimate = CachedJudge(client=Client(), store=path).estimate_cost(requests(1), READER)
    assert "looked up long ago" in estimate.doubt
    panel = JudgePanel(members=[Client(), Client(), Client("unknown")], rule="majority")
    assert (
        cached_judge(panel, path, judge_options()).estimate_cost(requests(1), READER).doubt
        == estimate.doubt
    )


def verdict(value, label="", model="m"):
    reading = None if value is None else ParsedVerdict(value, label)
    return Verdict("r", reading, model, "said")


@pytest.mark.parametrize(
    ("values", "rule", "expected"),
    [
        ((1.0, 0.0, 1.0), "majority", 1.0),
        ((0.0, 0.5, 1.0), "majority", 0.5),
        ((1.0, None, 1.0), "majority", 1.0),
        ((1.0, None, 0.0), "majority", None),
        ((None, None, None), "majority", None),
        ((0.2, 0.4, None), "mean", 0.3),
        ((0.0, 0.3, 0.9), "mean", 0.4),
    ],
)
def test_a_panel_decides(values, rule, expected):
    verdicts = panel_verdict([verdict(value) for value in values], rule)
    assert (verdicts.parsed and verdicts.parsed.value) == (expected and pytest.approx(expected))


def test_a_majority_keeps_its_label_and_names_all_who_sat():
    verdicts = panel_verdict(
        [verdict(1, "A>B", "x"), verdict(0, "B>A", "y"), verdict(1, "A>B", "z")], "majority"
    )
    assert verdicts.parsed == ParsedVerdict(1, "A>B")
    assert (verdicts.model, verdicts.text) == ("x, y, z", "x: said\ny: said\nz: said")


def test_a_panel_is_asked_one_by_one_and_pays_for_all(path):
    members = [Client("a", content="1"), Client("b", content="0"), Client("c", content="1")]
    judge = cached_judge(JudgePanel(members=members, rule="majority"), path, judge_options())
    verdicts = judge.judge(requests(3), READER, lambda _: None)
    assert [verdict.parsed.value for verdict in verdicts] == [1.0] * 3
    assert judge.model == "majority of a, b, c"
    assert judge.count_pending(requests(4), READER) == 1
    assert judge.usage(requests(3), READER).calls == 9
    assert judge.estimate_cost(requests(4), READER).calls == 3


def test_the_members_of_a_panel_share_one_budget(path):
    options = judge_options(budget=1)
    panel = JudgePanel(members=[Client(), Client(), Client()])
    judge = cached_judge(panel, path, options)
    assert all(member.options.budget is options.budget for member in judge.members)
    assert all(isinstance(member, PersistentJudge) for member in (judge, *judge.members))


def test_a_client_is_no_judge():
    client = OpenAIClient(model="j")
    assert isinstance(client, JudgeClient)
    assert not isinstance(client, Judge)


def test_a_majority_of_an_even_number_is_refused():
    with pytest.raises(ValueError, match="odd number"):
        JudgePanel(members=[Client("a"), Client("b")], rule="majority")


def test_a_replay_repeats_what_is_stored_and_asks_nothing(path):
    _, verdicts = grade(Client(), path, count=3)
    replay = CachedJudge(client=ReplayClient(model="gpt-4-1106-preview"), store=path)
    assert replay.judge(requests(3), READER, lambda _: None) == verdicts
    with pytest.raises(JudgeError, match="not all verdicts"):
        replay.judge(requests(4), READER, lambda _: None)


def test_parameters_of_the_judge_are_laid_over_the_protocols():
    request = JudgeRequest("a", (Message("user", "x"),), {"max_tokens": 1, "temperature": 1})
    plain = OpenAIClient(model="j").body(request)
    assert (plain["max_tokens"], plain["temperature"]) == (1, 1)
    judge = OpenAIClient(
        model="j",
        token_limit="max_completion_tokens",
        parameters={"temperature": None, "reasoning_effort": "none"},
    )
    body = judge.body(request)
    assert body["max_completion_tokens"] == 1
    assert body["reasoning_effort"] == "none"
    assert {"max_tokens", "temperature"}.isdisjoint(body)
    assert OpenAIClient(model="j", parameters={"max_tokens": 9}).body(request)["max_tokens"] == 9

"""A budget is a limit on the bill as the server counts it, whatever the server says and does."""

import json
import logging

import pytest

from benchmarks import budget
from harness.errors import BudgetError, ConfigError
from harness.judges import costs
from harness.judges.batch import cached_judge
from harness.judges.cached import CachedJudge, judge_options
from harness.judges.client import OpenAIClient
from harness.judges.panel import JudgePanel
from harness.judges.reported_usage import believed_usage
from harness.types import JudgeRequest, Message, ParsedVerdict, Reply


@pytest.mark.parametrize("setting", budget.SETTINGS, ids=lambda setting: setting.name)
def test_the_servers_bill_stays_within_the_budget(tmp_path, setting):
    client = budget.simulate(setting, 1, tmp_path)
    assert 0.3 * setting.budget < client.billed <= setting.budget
    assert client.calls > 5


class Reader:
    def parse(self, replies):
        return ParsedVerdict(1.0)

    def follow_up(self, request, replies):
        return None


def asked(count, length=400, **parameters):
    turns = [(Message("user", f"{i} " + "word " * length),) for i in range(count)]
    return [
        JudgeRequest(str(i), turn, parameters or {"max_tokens": 100})
        for i, turn in enumerate(turns)
    ]


def openai_client(url="http://127.0.0.1:1/v1", model="my-judge"):
    return OpenAIClient(model=model, base_url=url)


def judge(path, client=None, **terms):
    return CachedJudge(client=client or openai_client(), store=path, options=judge_options(**terms))


def test_a_judge_without_a_price_is_refused_with_a_budget_also_on_this_machine(tmp_path):
    with pytest.raises(ConfigError, match="--price IN,OUT"):
        judge(tmp_path / "v.sqlite", budget=1).judge(asked(1), Reader(), lambda _: None)
    assert judge(tmp_path / "v.sqlite").price == costs.FREE  # without a budget nobody asks


def test_the_users_price_is_booked_and_nothing_is_a_price(tmp_path):
    price = judge(tmp_path / "v.sqlite", price="2,8").price
    assert price.dollars(1_000_000, 500_000) == pytest.approx(2 + 4)
    assert "--price" in price.description
    assert judge(tmp_path / "v.sqlite", budget=1, price="0,0").price.dollars(10, 10) == 0


@pytest.mark.parametrize("text", ["2", "2,8,1", "-1,2", "nan,1", "inf,1", "two,8", "", "1e999,1"])
def test_a_price_that_is_none_is_refused(text):
    with pytest.raises(ConfigError, match="--price 2,8"):
        judge_options(price=text)


def test_the_users_price_holds_for_the_members_of_a_panel_that_no_file_lists(tmp_path):
    members = [openai_client(), openai_client(model="gpt-4-1106-preview")]
    panel = cached_judge(
        JudgePanel(members=members, rule="mean"), tmp_path / "v", judge_options(price="1,1")
    )
    assert [member.price.prompt for member in panel.members] == [1.0, 10.0]


@pytest.mark.parametrize(
    ("reported", "believed"),
    [
        ((2000, 90), (2000, 90)),
        ((500, 90), (500, 90)),
        ((0, 0), (0, 0)),
        ((2, 90), (0, 90)),  # 10,000 characters are more than 2 tokens
        ((5_000_000, 90), (0, 90)),  # and fewer than 10,000 and a template
        ((2000, 9_000_000), (2000, 0)),
        ((2000, 5000), (2000, 0)),  # its limit is 100, and it has no thought
    ],
)
def test_a_usage_that_cannot_be_is_not_believed(reported, believed):
    body = {"messages": [{"role": "user", "content": "word " * 2000}], "max_tokens": 100}
    usage = believed_usage(body, Reply("m", None, "stop", "my-judge", *reported))
    assert (usage.prompt, usage.completion) == believed


def test_a_thought_may_be_longer_than_the_limit():
    body = {"messages": [{"role": "user", "content": "word"}], "max_tokens": 100}
    reply = Reply("m", None, "stop", "my-judge", 10, 30_000, "a long thought")
    assert believed_usage(body, reply).completion == 30_000


BODY = {"model": "my-judge", "messages": [{"role": "user", "content": "word"}], "max_tokens": 100}


def tracker():
    """A dollar a token of the reply, and prompts that cost nothing."""
    price = judge_options(price="0,1000000").price
    return costs.CostTracker("my-judge", price, costs.Budget(1e6))


@pytest.mark.parametrize(
    ("seconds", "longest"),
    [
        (0.05, 50),  # a thousand tokens a second
        (60.0, 100),  # its limit
        (None, 100),
    ],
)
def test_a_reply_without_a_usage_may_hide_a_thought(seconds, longest):
    tracked = tracker()
    call = tracked.record_reply(BODY, Reply("m", None, "stop", "j", 10, 0), "parsed", seconds)
    assert call.dollars == 1
    assert tracked.budget.doubt == longest - 1
    known = tracker()
    known.record_reply(BODY, Reply("m", None, "stop", "j", 10, 7), "parsed", seconds)
    assert (known.budget.spent, known.budget.doubt) == (7, 0)


def test_a_judge_that_passes_its_limit_is_reserved_for_at_the_multiple_that_was_seen():
    tracked = tracker()
    assert tracked.largest_cost(BODY) == 100
    tracked.record_reply(BODY, Reply("m", None, "stop", "j", 10, 300), "parsed", 1.0)
    assert tracked.largest_cost(BODY) == 300
    assert tracked.largest_cost({**BODY, "max_tokens": 200}) == 600
    tracked.record_reply(BODY, Reply("m", None, "stop", "j", 10, 0), "parsed", 60.0)
    assert tracked.budget.doubt == 300 - 1  # one that reports nothing may be as long


class Losing(budget.SimulatedClient):
    """Answers once, and then loses every reply."""

    def _reply(self, prompt, tokens, *, is_cut):
        return super()._reply(prompt, tokens, is_cut=False) if self.calls == 1 else None


def test_lost_replies_may_have_been_as_long_as_their_limit(tmp_path):
    setting = budget.Setting("", 1.0, odd=0.0)
    client = Losing(setting, budget.np.random.default_rng(0))
    options = judge_options(budget=1.0, price=budget.PRICE)
    grading = CachedJudge(client=client, store=tmp_path / "v.sqlite", options=options)
    requests = list(budget.requests(client.rng, setting, 50))
    with pytest.raises(BudgetError, match="more where no usage came") as caught:
        grading.judge(requests, budget.LastWord(), lambda _: None)
    # 4,096 tokens at $30 a million are $0.12, and prompts of 300 to 3,000 words up to $0.04: the
    # first was cheap, and seven more fit
    assert 6 <= client.calls <= 8
    usage = grading.usage(requests, budget.LastWord())
    assert usage.failed >= client.calls - 2
    assert f"(${usage.dollars:.2f} so far" in str(caught.value)  # the message's total is the booked


def test_the_bound_is_printed(tmp_path, caplog):
    setting = budget.Setting("", 0.5)
    with caplog.at_level(logging.INFO, "harness"):
        budget.simulate(setting, 0, tmp_path)
    (line,) = [m for m in caplog.messages if m.startswith("budget:")]
    assert (
        "stays within $0.5; each request in flight is set aside with a reply of its limit of 4096"
        in line
    )


def test_the_table_of_the_simulation_by_hand():
    setting = budget.Setting("two", 2.0)
    bills = ((1.0, 0.1), (1.9, 0.1), (2.05, 0.1), (2.2, 0.1))
    clients = [
        budget.SimulatedClient(setting, None, billed=billed, largest=largest, calls=10)
        for billed, largest in bills
    ]
    row = budget.table_row(setting, clients)
    assert (row["least"], row["most"]) == (50, pytest.approx(110))
    assert (row["runs above"], row["runs above by a call or more"]) == (2, 1)
    assert json.loads(json.dumps(row))["calls"] == 10

"""A judge as an oracle: what it is asked over HTTP, how its replies are parsed."""

from __future__ import annotations

import math

import pytest

from harness.api.training import build_spec
from harness.core.config import build, identity, load
from harness.core.workspace import Workspace
from harness.errors import CheckError, JudgeError
from harness.judges.cached import CachedJudge
from harness.judges.client import OpenAIClient
from harness.judges.toy_server import serving
from harness.oracles.judge import SYSTEM_PROMPT, JudgeOracle, question
from harness.training.schedule import train
from harness.types import Comparison, Message, Prompt, Reply

PROMPT = Prompt("p", (Message("user", "Say hello."),))
COMPARISONS = [Comparison(PROMPT, "hello", "bye"), Comparison(PROMPT, "well", "hello there")]


def reply(content: str, likely: dict[str, float] | None = None) -> Reply:
    """A reply; `likely` gives the probabilities of its first token."""
    top = likely and (tuple((token, math.log(p)) for token, p in likely.items()),)
    return Reply(content, top or None, "stop", "judge", 1, 1)


def preferences(path, grade, **settings) -> list[float]:
    with serving(grade, "judge") as url:
        client = OpenAIClient(model="judge", base_url=url, api_key_env="NONE")
        oracle = JudgeOracle(judge=CachedJudge(client=client, store=path / "v.sqlite"), **settings)
        return oracle.compare(COMPARISONS, lambda _: None)


def hello_first(messages, request) -> float:
    """P(A preferred) of a judge that likes greetings and, somewhat, whoever comes first."""
    first, second = messages[1].content.split("[Answer A]\n")[1].split("\n\n[Answer B]\n")
    return 0.6 + 0.3 * (("hello" in first) - ("hello" in second))


def test_both_orders_are_asked_and_averaged(tmp_path):
    def grade(messages, request):
        p = hello_first(messages, request)
        return reply("A", {"A": p, "B": 1 - p})

    # hello first: (0.9 + 1 - 0.3) / 2 = 0.8; hello second: (0.3 + 1 - 0.9) / 2 = 0.2
    assert preferences(tmp_path, grade) == pytest.approx([0.8, 0.2])


def test_without_likelihoods_the_letter_counts(tmp_path):
    def grade(messages, request):
        return reply("A" if hello_first(messages, request) > 0.5 else "B")

    assert preferences(tmp_path, grade) == [1.0, 0.0]


def test_an_order_that_cannot_be_read_is_left_to_the_other(tmp_path):
    def grade(messages, request):
        p = hello_first(messages, request)
        return reply("A", {"A": p, "B": 1 - p}) if p > 0.5 else reply("Neither.")

    # the readable orders say 0.9 for hello first, and 1 - 0.9 for hello second
    assert preferences(tmp_path, grade, max_unparsed=0.5) == pytest.approx([0.9, 0.1])


def test_too_many_that_cannot_be_read_stop_the_run(tmp_path):
    with pytest.raises(CheckError, match="4 of 4 replies of judge are unparsable"):
        preferences(tmp_path, lambda messages, request: reply("Neither."))


def test_what_nobody_says_is_a_half(tmp_path):
    assert preferences(tmp_path, lambda messages, request: reply("?"), max_unparsed=1.0) == [
        0.5,
        0.5,
    ]


def test_verdicts_are_kept(tmp_path):
    assert preferences(tmp_path, lambda messages, request: reply("A", {"A": 0.7, "B": 0.3})) == [
        0.5,
        0.5,
    ]

    def gone(messages, request):
        raise AssertionError("asked again")

    assert preferences(tmp_path, gone) == [0.5, 0.5]


def test_the_question_holds_the_conversation_and_both_answers():
    turns = (
        Message("user", "Hi."),
        Message("assistant", "Hello."),
        Message("user", "How are you?"),
    )
    system, user = question(Comparison(Prompt("p", turns), "Well.", "Go away."))
    assert system.content == SYSTEM_PROMPT
    assert user.content == (
        "[user]\nHi.\n\n[assistant]\nHello.\n\n[user]\nHow are you?"
        "\n\n[Answer A]\nWell.\n\n[Answer B]\nGo away."
    )


def test_spellings_of_a_letter_are_summed():
    oracle = JudgeOracle.model_construct(max_unparsed=0.0)
    verdict = oracle.parse([reply("A", {" A": 0.6, "B": 0.2, "A": 0.1, "C": 0.1})])
    assert verdict is not None
    assert verdict.value == pytest.approx(0.7 / 0.9)
    assert verdict.mass == pytest.approx(0.9)
    assert oracle.parse([reply("C", {"C": 1.0})]) is None


@pytest.mark.parametrize(
    ("text", "value"),
    [("A", 1.0), (" B.", 0.0), ("**B**", 0.0), ("(A)", 1.0), ("Answer", None)]
    + [(text, None) for text in ("Answer B is better", "A or B", "B, not A", "", "Both")],
)
def test_a_letter_must_stand_alone(text, value):
    oracle = JudgeOracle.model_construct(max_unparsed=0.0)
    parsed = oracle.parse([reply(text)])
    assert (parsed and parsed.value) == value


def test_its_verdicts_lie_in_the_workspace_of_the_run(tmp_path):
    oracle = build(load("oracle", "judge"))
    assert oracle.judge.path.as_posix() == "runs/oracle-verdicts.sqlite"
    moved = oracle.in_workspace(tmp_path)
    assert moved.judge.path == tmp_path / "oracle-verdicts.sqlite"
    assert identity(moved) == identity(oracle)
    own = build(load("oracle", "judge", ["judge.store=mine.sqlite"]))
    assert own.in_workspace(tmp_path) is own


def test_a_missing_key_is_known_before_anything_is_sampled(tmp_path, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    spec = build_spec("toy/inpo", {"oracle": {"ref": "oracle/judge"}, "prompts.count": 16})
    workspace = Workspace(tmp_path)
    with pytest.raises(JudgeError, match="needs a key: set OPENAI_API_KEY"):
        train(spec, workspace, "run")
    assert not (tmp_path / "stages").exists()

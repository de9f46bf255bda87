"""How many tokens a text has: the estimate stands where tiktoken's file is missing."""

import json

import pytest

from harness.core.config import build, load
from harness.judges import tokens
from harness.judges.tokens import RATES, estimator


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", 0),
        ("a word or two", 4),  # 4 x 1.0
        ("internationally", 1 + 8 * 0.08),  # eight letters beyond seven
        ("iPhone", 1.47),
        ("1234567", 3 * 1.32),
        ("a.\n\n  b", 2 + 0.78 + 0.73),
        ("漢字かな", 4 * 1.13),
        ("привет", 6 * 0.53),
        ("é", 0.97),
        ("🙂", 1.95),
        ("a  b", 2 + 2.15),
    ],
)
def test_the_estimate_adds_up_what_is_there(text, expected):
    assert estimator(RATES["cl100k_base"])(text) == round(expected)


def prompts(shared, name):
    """Return what a judge is asked about the baseline's answers, or the questions alone."""
    if name == "arena-hard-v2.0":
        text = (shared / "assets/arena_hard_v2.0/question.jsonl").read_text()
        return [json.loads(line)["prompt"] for line in text.split("\n") if line]
    bench = build({**load("bench", name), "assets": str(shared / "assets")})
    theirs = bench.baseline_answers()[:150]
    return [m.content for request in bench.requests(theirs, theirs) for m in request.messages]


@pytest.mark.parametrize("encoding", RATES)
@pytest.mark.parametrize("name", ["alpaca-eval", "arena-hard", "arena-hard-v2.0"])
def test_the_estimate_is_near_the_count(shared, monkeypatch, name, encoding):
    import tiktoken

    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(shared / "assets/tiktoken"))
    count, estimate = tiktoken.get_encoding(encoding).encode_ordinary, estimator(RATES[encoding])
    texts = prompts(shared, name)
    counted, estimated = (sum(map(f, texts)) for f in (lambda t: len(count(t)), estimate))
    assert estimated == pytest.approx(counted, rel=0.05)


def test_the_tokenizer_that_counts_is_named(monkeypatch):
    def gone(name):
        raise OSError(name)

    monkeypatch.setattr("tiktoken.get_encoding", gone)
    count, description = tokens.token_counter("gpt-4o-2024-08-06")
    assert (count("a word or two"), description.partition(",")[0]) == (
        4,
        "an estimate of tiktoken's o200k_base",
    )
    assert "within 4 %" in description
    assert "up to 20 % off" in tokens.token_counter("Qwen3-32B")[1]

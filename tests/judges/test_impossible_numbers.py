"""Replies whose numbers cannot be: of tokens, and log-probabilities."""

import json

import pytest

from harness.core.completion_bodies import load_json
from harness.core.label_tokens import read_labels
from harness.judges.chat_format import MOST_TOKENS, reply_of


def body(usage="null", logprob="-0.1"):
    token = f'"token": "m", "logprob": {logprob}'
    top = f'{{{token}, "top_logprobs": [{{{token}}}]}}'
    return (
        '{"model": "j", "choices": [{"message": {"content": "m"}, "finish_reason": "stop", '
        f'"logprobs": {{"content": [{top}]}}}}], "usage": {usage}}}'
    )


@pytest.mark.parametrize(
    "count",
    [
        *("-1000000", "1e999", "-1e999", "NaN", "9223372036854775808", "1" + "0" * 400),
        *("1" + "0" * 5000, "true", "null", '"many"', "[1]", '{"cached": 3}', str(MOST_TOKENS + 1)),
    ],
)
def test_a_number_of_tokens_that_cannot_be_is_unknown(count):
    usage = f'{{"prompt_tokens": {count}, "completion_tokens": {count}}}'
    reply = reply_of(body(usage))
    assert (reply.prompt_tokens, reply.completion_tokens) == (0, 0)
    assert reply.content == "m"


@pytest.mark.parametrize("usage", ["null", "[]", "3", '"none"', "{}", "NaN"])
def test_a_usage_of_another_shape_is_unknown(usage):
    assert reply_of(body(usage)).prompt_tokens == 0


def test_numbers_of_tokens_that_can_be_are_read():
    reply = reply_of(body('{"prompt_tokens": 1200, "completion_tokens": 3.0}'))
    assert (reply.prompt_tokens, reply.completion_tokens) == (1200, 3)


@pytest.mark.parametrize("value", ["NaN", "1e999", "1" + "0" * 400, "1" + "0" * 5000, "1000"])
def test_a_log_probability_that_cannot_be_is_no_verdict(value):
    reply = reply_of(body(logprob=value))
    assert read_labels(reply.top_logprobs[0], ("m", "M")) is None


def test_json_that_is_nested_too_deeply_is_no_completion():
    with pytest.raises(ValueError, match="nested too deeply"):
        load_json("[" * 100_000)
    with pytest.raises(ValueError, match="no chat completion"):
        reply_of(json.dumps({"choices": []}))

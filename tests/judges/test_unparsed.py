"""What a judge gives in place of a verdict is named, with what to set."""

import pytest

from harness.judges.unparsed import describe, unparsed_error
from harness.types import ParsedVerdict, Reply

TOPS = (((" m", -0.1), (" M", -2.4), ("The", -6.0)),)


def reply(content="", tops=None, reason="stop", thinking=""):
    return Reply(content, tops, reason, "j", 1, 1, thinking)


@pytest.mark.parametrize(
    ("answer", "cause", "remedy"),
    [
        (reply("m"), "no log-probabilities", "doctor"),
        (reply("m", ((),)), "top_logprobs", "doctor"),
        (reply("x", ((("x", -0.1), ("y", -3.0)),)), "the tokens 'x', 'y'", "--judge"),
        (reply("", (), "length", "<think>"), "a thought that does not end", "max_tokens"),
        (reply("", TOPS, "content_filter"), "content filter", "--judge"),
    ],
)
def test_of_a_judge_that_should_give_log_probabilities(answer, cause, remedy):
    described = describe({"logprobs": True}, answer)
    assert cause in described[0]
    assert remedy in described[1]


@pytest.mark.parametrize(
    ("answer", "cause", "remedy"),
    [
        (reply(), "no text", "--judge"),
        (reply("cut", reason="length"), "cut off", "max_tokens"),
        (reply("", reason="length"), "a thought that is not shown", "enable_thinking"),
        (reply("", reason="length", thinking="hm"), "a thought", "enable_thinking"),
        (reply("I cannot say"), "I cannot say", "--judge"),
    ],
)
def test_of_a_judge_that_should_give_text(answer, cause, remedy):
    described = describe({}, answer)
    assert cause in described[0]
    assert remedy in described[1]


def test_labels_with_a_blank_before_them_are_named_with_the_way_to_read_them():
    parsed = ParsedVerdict(0.9, mass=0.99, spelled=False)
    replies = [({"logprobs": True}, reply(" m", TOPS), parsed)] * 20
    message = str(unparsed_error("the judge j", replies))
    assert "none of the first 20 replies of the judge j" in message
    assert "the tokens ' m', ' M', 'The'" in message
    assert "--set any_spelling=true" in message

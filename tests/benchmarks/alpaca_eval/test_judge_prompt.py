"""The template is filled and split as in alpaca_eval, quirks included."""

from harness.benchmarks.alpaca_eval.judge_prompt import fill_template, parse_messages
from harness.types import Message

TEMPLATE = "{ a {one} b {two} c {\n}"


def test_placeholders_are_filled_in_the_templates_order():
    assert fill_template(TEMPLATE, {"two": "2", "one": "1"}) == "{ a 1 b 2 c {\n}"


def test_a_text_with_a_later_placeholder_swallows_what_belongs_there():
    assert fill_template(TEMPLATE, {"one": "<{two}>", "two": "2"}) == "{ a <2> b {two} c {\n}"


def test_a_text_with_its_own_placeholder_is_left_alone():
    assert fill_template(TEMPLATE, {"one": "{one}", "two": "{one}"}) == "{ a {one} b {one} c {\n}"


def test_text_is_split_into_stripped_messages():
    text = "\n<|im_start|>system\n be good \n<|im_end|>\n<|im_start|>user\n\n hi\n<|im_end|>"
    assert parse_messages(text) == (Message("system", "be good"), Message("user", "hi"))


def test_markers_inside_a_text_end_its_message_and_begin_another():
    text = "<|im_start|>user\na<|im_end|>b<|im_start|>assistant\nc\n<|im_end|>"
    assert parse_messages(text) == (Message("user", "a"), Message("assistant", "c"))


def test_what_follows_the_role_system_is_dropped():
    assert parse_messages("<|im_start|>system name=x\ny<|im_end|>") == (Message("system", "y"),)

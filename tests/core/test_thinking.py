"""A thought is told from the answer behind it."""

import pytest

from harness.core.thinking import begins_to_think, split_thinking


@pytest.mark.parametrize(
    "text",
    [
        "<think>[[B>>A]]?</think>[[A>B]]",
        "<think>\n[[B>>A]]?\n</think>\n\n[[A>B]]",
        "  <THINK>x</THINK> [[A>B]]",
        "I open no tag: [[B>>A]]\n</think>\n[[A>B]]",
        "<think>it quotes </think> and [[B>A]]</think>[[A>B]]",
        "<thinking>x</thinking>[[A>B]]",
        "[THINK]x[/THINK][[A>B]]",
        "◁think▷x◁/think▷[[A>B]]",
        "<|channel|>analysis<|message|>x<|end|><|start|>assistant"
        "<|channel|>final<|message|>[[A>B]]",
        "analysisWe look. [[B>A]]assistantfinal[[A>B]]",
        "<think>\n</think>\n[[A>B]]",
    ],
)
def test_what_follows_a_thought_is_the_answer(text):
    thought, answer = split_thinking(text)
    assert answer == "[[A>B]]"
    assert thought + answer == text or thought + " " + answer == text or thought in text
    assert thought


@pytest.mark.parametrize(
    "text",
    [
        "<think>surely [[A>B]]",
        "\n <think>\n[[A>B]]",
        "Well.\n<think>\n[[A>B]]",
        "<think>a</think>[[B>A]]\n<think>no: [[A>B]]",
        "analysisWe look at both. [[A>B]]",
        "<|channel|>analysis<|message|>[[A>B]]",
    ],
)
def test_nothing_follows_a_thought_that_does_not_end(text):
    assert split_thinking(text) == (text, "")


@pytest.mark.parametrize(
    "text", ["[[A>B]]", "", " m", "A shows its <think> tag. [[A>B]]", "analysis: [[A>B]]"]
)
def test_a_text_without_a_thought_is_the_answer(text):
    assert split_thinking(text) == ("", text)
    assert not begins_to_think(text)

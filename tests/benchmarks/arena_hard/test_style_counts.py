"""Counts of Markdown elements: upstream's, in a time that is linear in an answer's length."""

import random
import re
import time

import pytest

from harness.benchmarks.arena_hard.style import ELEMENTS

UPSTREAM = {  # arena-hard-auto, utils/add_markdown_info.py
    "header": r"^#{1,6}\s",
    "list": r"^\s*(?:\d+\.|[-*+])\s",
    "bold": r"\*\*[^*\n]+\*\*|__[^_\n]+__",
}
PIECES = [
    *("\n", "\n", " ", "\t", "\r", "\x0b", "\u2028", "\x85", "\u00a0", "\x1c"),
    *("-", "*", "+", "1.", "12.", "٣.", "3", ".", "#", "##", "**", "__", "a", "_", "- a", "1. b\n"),
]


def count(pattern, text):
    return len(re.findall(pattern, text, re.MULTILINE))


@pytest.mark.parametrize("element", UPSTREAM)
def test_the_counts_are_upstreams(element):
    draw = random.Random(0)
    for _ in range(4000):
        text = "".join(draw.choices(PIECES, k=draw.randint(1, 25)))
        expected = count(UPSTREAM[element], text)
        assert len(ELEMENTS[element].findall(text)) == expected, repr(text)


@pytest.mark.parametrize(
    "unit",
    [
        "\n",
        " ",
        "\n ",
        "\r\n",
        "\n-",
        "- ",
        "1",
        "1.",
        "\n1",
        "#",
        "\n#",
        "**",
        "_",
        "__a",
        "**a",
        "`",
    ],
)
def test_long_answers_are_counted_in_linear_time(unit):
    text = unit * (200_000 // len(unit))
    start = time.process_time()
    for pattern in ELEMENTS.values():
        pattern.findall(text)
    assert time.process_time() - start < 1  # upstream's takes minutes for the first of these

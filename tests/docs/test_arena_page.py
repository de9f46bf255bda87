"""The page of the arena: its commands are real, and its example of rates without a cycle holds."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import typer

from harness.cli.main import app
from harness.statistics.hodge import decompose, strongest_cycle
from harness.statistics.pairwise import all_pairs

PAGE = (Path(__file__).parents[2] / "docs/arena.md").read_text("utf-8")


def test_every_option_of_the_page_is_the_commands():
    command = typer.main.get_command(app).commands["arena"]
    known = {name for parameter in command.params for name in parameter.opts}
    lines = re.findall(r"harness arena (.*)", PAGE)
    assert len(lines) > 3
    for option in re.findall(r"--[a-z-]+", " ".join(lines)):
        assert option in known


def test_rates_without_a_cycle_that_no_rating_gives():
    rates = np.array([0.6, 0.61, 0.6])  # a-b, a-c, b-c
    parts = decompose(np.log(rates / (1 - rates)), all_pairs(3), np.ones(3), 3)
    assert parts.share > 0.01
    matrix = np.array([[0.5, 0.6, 0.61], [0.4, 0.5, 0.6], [0.39, 0.4, 0.5]])
    assert strongest_cycle(matrix, 1 - np.eye(3)) is None

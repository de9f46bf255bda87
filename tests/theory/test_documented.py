"""The table of results in the documentation is what the experiment computes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.core.config import build, load
from harness.theory.pairs import BestAndWorst, IndependentPairs
from harness.theory.selection import Selection, log_update, regression

PAGE = Path(__file__).parents[2] / "docs/theory.md"
ROW = re.compile(r"\| ([\w -]+ games|cyclic games of 5) \| (2|8|32) \| (.+) \|")


@pytest.fixture(scope="module")
def experiment() -> Selection:
    loaded = build(load("theory", "selection"))
    assert isinstance(loaded, Selection)
    return loaded


@pytest.mark.parametrize(("name", "k", "cells"), ROW.findall(PAGE.read_text("utf-8")))
def test_a_row_of_the_table_is_reproduced(experiment, name, k, cells):
    (game,) = (game for game in experiment.games if game.name == name)
    games = game.draw(experiment.seed)
    preference, reference = games.rows()
    exact = log_update(experiment.objective, preference, reference, IndependentPairs())
    documented = [float(cell.split()[0]) for cell in cells.split(" | ")]
    recomputed = []
    for labels in ("argmax", "bernoulli"):
        source = BestAndWorst(samples=int(k), labels=labels)
        observed = log_update(experiment.objective, preference, reference, source)
        recomputed += [float(values.mean()) for values in regression(exact, observed, reference)]
    assert recomputed == pytest.approx(documented, abs=6e-4)


def test_the_table_is_read():
    assert len(ROW.findall(PAGE.read_text("utf-8"))) == 9

"""The table of sources names every loss and every recipe."""

from __future__ import annotations

import re
from pathlib import Path

from harness.core import config

ROOT = Path(__file__).parents[2]
TABLE = (ROOT / "baselines/README.md").read_text()


def test_every_loss_has_a_row():
    losses = {path.name for path in (ROOT / "baselines").glob("*.py")} - {"__init__.py"}
    assert losses == {name for name in re.findall(r"`(\w+\.py)`", TABLE)}


def test_every_recipe_has_a_row():
    recipes = {name for name in config.names("train") if "/" not in name}
    assert recipes <= set(re.findall(r"`([\w-]+)`", TABLE))

"""The page on training lists the oracles, pairings, alarms and settings that exist."""

from __future__ import annotations

import inspect
import re

import pytest

from harness.training import metrics, pairing
from harness.training.optimisers import OptimiserSettings
from tests.docs.pages import ROOT

PAGE = (ROOT / "docs/training.md").read_text("utf-8")


def rows(title: str) -> list[list[str]]:
    """Return the cells of the table under a heading, without its header."""
    section = PAGE.partition(f"## {title}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_every_oracle_that_ships_is_documented():
    documented = {name for cells in rows("Oracles") for name in re.findall(r"`([^`]+)`", cells[0])}
    assert documented == {path.stem for path in (ROOT / "configs/oracle").glob("*.yaml")}


def test_every_policy_that_ships_is_documented():
    documented = {name for cells in rows("Policies") for name in re.findall(r"`([^`]+)`", cells[0])}
    assert documented == {path.stem for path in (ROOT / "configs/policy").glob("*.yaml")}


@pytest.mark.parametrize("cells", rows("Pairing"), ids=lambda cells: cells[0])
def test_a_pairing_asks_for_as_many_comparisons_as_the_page_says(cells):
    name = re.search(r"`(\w+)`", cells[0])[1]
    assert pairing.comparison_count(getattr(pairing, name)(), 8) == int(cells[1])


def test_every_alarm_is_documented():
    documented = {cells[0] for cells in rows("The log and its alarms")}
    code = inspect.getsource(metrics)
    assert documented == set(re.findall(r'f?"([a-z][a-z -]+):', code))


def test_every_setting_of_memory_is_one():
    fields = OptimiserSettings.model_fields
    for cells in rows("Memory"):
        name, _, value = re.search(r"optimiser\.([\w-]+)(=([\w-]+))?", cells[0]).groups("")
        assert name in fields
        documented = re.search(r"\((\d+)\)", cells[0])
        assert documented is None or fields[name].default == int(documented[1])
        assert not value or value in str(fields[name].annotation)

"""The table of architectures in docs/training.md is what `python docs/families.py` computes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def families():
    sys.path.insert(0, str(DOCS))
    import families

    yield families
    sys.path.remove(str(DOCS))
    del sys.modules["families"]


@pytest.mark.parametrize("name", ["Llama", "Gemma 3", "Granite", "StableLM", "Phi-3.5 MoE"])
def test_the_page_shows_the_computed_row(families, name):
    kind, settings = families.FAMILIES[name]
    (line,) = (row for row in families.page_table().splitlines() if row.startswith(f"| {name} |"))
    assert line.endswith(f"| {families.outcome(kind, settings)} |"), "run `python docs/families.py`"

"""A reader's directory, with everything that the pages ask a reader to put there."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs import pages


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory of a reader who has the examples and the configurations shown."""
    monkeypatch.syspath_prepend(pages.ROOT / "docs/examples")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HARNESS_ASSETS", raising=False)
    pages.write_configurations(tmp_path)
    return tmp_path

"""A reader's directory, with everything that the pages ask a reader to put there."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from harness.core.trust import TRUST_VARIABLE
from tests.docs import pages


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory of a reader who has the examples and the configurations shown."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv(TRUST_VARIABLE, str(pages.ROOT / "docs/examples"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "user"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HARNESS_ASSETS", raising=False)
    pages.write_configurations(tmp_path)
    row = {"prompt": "sort d b", "chosen": "b d . plain", "rejected": "d b . plain"}
    (tmp_path / "mine.jsonl").write_text(json.dumps(row))
    return tmp_path

"""A table is the same to the byte whoever makes it again: other Pythons, hash seeds, processors."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PYTHONS = sorted((ROOT / ".pythons").glob("3.*/bin/python"))
"""Made by `make pythons`."""
FORMATS = ("rich", "md", "latex", "csv", "json", "html", "svg")
ASKED = ("--published", "inpo", "--wide", "--baseline", "method 3", "--columns", "all")
MACHINES = {
    "another hash seed and time zone, no locale, a narrow terminal, an old processor": {
        "PYTHONHASHSEED": "4711",
        "TZ": "Asia/Tokyo",
        **{"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        "COLUMNS": "40",
        "OPENBLAS_CORETYPE": "Prescott",
    },
    "a locale without the characters, two threads, another processor": {
        "PYTHONIOENCODING": "latin-1",
        **{"OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"},
        "OPENBLAS_CORETYPE": "Haswell",
    },
}


@pytest.fixture
def filed(file, tmp_path: Path) -> Path:
    """Twelve methods, not all with the same prompts, some with hours and a run."""
    rng = random.Random(0)
    for i in range(12):
        process = {} if i % 3 else {"hours": {"training": {"H100": 1.5 / (i + 1)}, "answering": {}}}
        run = {"name": f"r{i}", "method": "m", "iteration": i, "base": "b"} if i % 2 else None
        values = [min(1.0, rng.random() + i / 80) for _ in range(300 - i % 4)]
        file(f"method {i}", values, run=run, **process)
    return tmp_path


def printed(folder: Path, form: str, python: str = sys.executable, **environment: str) -> bytes:
    """Return what an interpreter prints; the results' folder is where it runs."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("OPENBLAS_", "LC_"))}
    process = subprocess.run(
        (python, "-m", "harness", "leaderboard", "--format", form, *ASKED),
        cwd=folder,
        env={**inherited, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        timeout=120,
    )
    assert process.returncode == 0, process.stderr.decode()
    return process.stdout


def test_another_machine_prints_the_same_bytes(filed):
    ours = printed(filed, "rich")
    for name, environment in MACHINES.items():
        assert printed(filed, "rich", **environment) == ours, name


def test_another_python_prints_the_same_bytes(filed):
    if not PYTHONS:
        pytest.skip("needs another Python of 3.11 to 3.13: `make pythons` looks for them")
    for form in FORMATS:
        ours = printed(filed, form)
        assert b"method 11" in ours.replace(b"&#160;", b" ")
        for python in PYTHONS:
            theirs = printed(filed, form, str(python), PYTHONHASHSEED="7")
            assert theirs == ours, f"{form} by {python.parts[-3]}"

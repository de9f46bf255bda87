"""The page "Where is my model?" is followed from top to bottom, as a reader would type it."""

from __future__ import annotations

import shlex
import shutil

from tests.docs import pages


def test_the_page_can_be_followed(short_run, tmp_path, command):
    shutil.copytree(short_run / "runs", tmp_path / "runs")
    lines = [c.text for c in pages.commands() if c.page == "docs/where-is-my-model.md"]
    assert len(lines) > 8
    for line in lines:
        done = command(*shlex.split(line)[1:])
        assert done.returncode == 0, f"{line}: {done.stderr}"
    assert (tmp_path / "for-a-colleague/policies/iteration-1/config.json").is_file()
    assert (tmp_path / "for-trl/pairs/iteration-1.parquet").is_file()
    assert not list(tmp_path.glob("runs/stages/optimise-*"))


def test_the_plans_of_the_page_on_sweeps_are_printed(tmp_path, command):
    lines = [c.text for c in pages.commands() if c.page == "docs/sweeps.md"]
    planned = [line for line in lines if line.endswith("--dry-run")]
    assert len(planned) == 2
    first, second = (command(*shlex.split(line)[1:]).stdout for line in planned)
    assert first.startswith("inpo-sweep/eta=0.1,seed=0: INPO (eta=0.1, seed 0), 0 of ")
    assert "6 runs use " in first
    assert "30 runs use " in second
    assert "30 evaluations would follow." in second
    assert not (tmp_path / "runs").exists()

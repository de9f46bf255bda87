"""`harness runs` and `harness workspace`: what they print, ask and refuse."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file

from harness.cli.runs import LOADING
from harness.cli.sizes import format_bytes
from tests.cli.conftest import QUICK


@pytest.fixture
def here(short_run: Path, tmp_path: Path) -> Path:
    """The test's directory with a workspace of one short run of toy/inpo."""
    shutil.copytree(short_run / "runs", tmp_path / "runs")
    return tmp_path


def test_runs_are_listed_with_state_iterations_size_and_time(here, command):
    out = command("runs", "ls").stdout
    assert out.startswith("toy/inpo: INPO, complete, 1 of 1 iterations, ")
    (row,) = json.loads(command("runs", "ls", "--json").stdout)
    assert (row["name"], row["state"], row["sweep"]) == ("toy/inpo", "complete", "")
    (here / "runs/train/broken").mkdir()
    (here / "runs/train/broken/run.json").write_text("[]")
    assert "left out: " in command("runs", "ls").stderr
    shutil.rmtree(here / "runs")
    assert "no runs in runs" in command("runs", "ls").stdout


def test_a_run_shows_its_policies_how_to_load_them_and_its_stages(here, command):
    out = command("runs", "show", "toy/inpo").stdout
    data = json.loads(command("runs", "show", "toy/inpo", "--json").stdout)
    assert data["policies"][-1] in out
    assert Path(data["policies"][-1]).parent == here / "runs/stages"
    for line in LOADING.format(path=data["policies"][-1]).splitlines():
        assert line in out
    assert {use["kind"] for use in data["stages"]} >= {"fine-tune", "generate", "pair", "optimise"}
    namespace: dict[str, object] = {}
    for line in data["load"]:
        exec(line, namespace)
    weights = load_file(Path(data["policies"][-1]) / "model.safetensors")
    assert weights.keys() <= namespace["model"].state_dict().keys()
    assert command("runs", "show", "nothing").returncode == 2


def test_a_run_is_removed_after_a_yes_alone(here, command):
    dry = command("runs", "rm", "toy/inpo", "--dry-run")
    assert "would become free" in dry.stdout
    refused = command("runs", "rm", "toy/inpo")
    assert refused.returncode == 2
    assert "--yes" in refused.stderr
    assert (here / "runs/train/toy/inpo/run.json").is_file()
    done = command("runs", "rm", "toy/inpo", "--yes", "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["removed"] is True
    assert not (here / "runs/train/toy").exists()
    assert not list((here / "runs/stages").glob("[!.]*"))


def test_a_run_is_exported(here, command):
    done = command("runs", "export", "toy/inpo", "out", "--format", "parquet")
    assert done.returncode == 0, done.stderr
    assert "2 policies, pairs of 1 iterations, 0 results" in done.stdout
    assert (here / "out/pairs/iteration-1.parquet").is_file()
    assert command("runs", "export", "toy/inpo", "out").returncode == 2


def test_usage_prune_and_verify(here, command):
    usage = json.loads(command("workspace", "du", "--json").stdout)
    assert usage["runs"][0]["run"] == "toy/inpo"
    assert "toy/inpo" in command("workspace", "du").stdout
    assert command("workspace", "verify").stdout == "runs is whole\n"
    assert "1 samples: " in command("workspace", "prune", "--samples", "--dry-run").stdout
    assert list((here / "runs/stages").glob("generate-*"))
    pruned = json.loads(command("workspace", "prune", "--samples", "--json").stdout)
    assert [row["kind"] for row in pruned["leftovers"]] == ["samples"]
    assert not list((here / "runs/stages").glob("generate-*"))
    assert "nothing to remove" in command("workspace", "prune").stdout


def test_a_finding_is_a_line_and_an_exit_code(here, command):
    (weights,) = here.glob("runs/stages/optimise-*/model.safetensors")
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(bytes(data))
    done = command("workspace", "verify")
    assert done.returncode == 7
    assert done.stdout.count("\n") == 1
    assert done.stdout.startswith("stage: ")
    assert "rm -r" in done.stdout
    assert len(json.loads(command("workspace", "verify", "--json").stdout)["findings"]) == 1
    assert command("workspace", "verify", "--workspace", "none").returncode == 7
    assert not (here / "none").exists()


def test_sizes_have_units_of_a_thousand():
    assert [format_bytes(n) for n in (0, 999, 1000, 16_060_000_000, 2e15)] == [
        *("0 B", "999 B", "1.0 kB"),
        *("16.1 GB", "2000.0 TB"),
    ]


def test_a_rehearsal_alone_trains_nothing_and_is_kept(here, command):
    """The short run has rehearsed: adapters are another setting, and the oracle stays the same."""
    options = ("--set", "optimiser.lora={rank: 2}", "--name", "adapters", "--dry-run")
    stages = set((here / "runs/stages").iterdir())
    command("train", "toy/inpo", *QUICK, *options)
    assert set((here / "runs/stages").iterdir()) == stages
    for state in ("is complete", "was cached"):
        done = command("train", "toy/inpo", *QUICK, *options, "--rehearse")
        assert done.returncode == 0, done.stderr
        assert "would run" in done.stdout
        assert f"the rehearsal {state}: nothing failed" in done.stderr
        assert ("rehearsed in" in done.stderr) == (state == "is complete")
    (new,) = {p for p in (here / "runs/stages").iterdir() if p.name[0] != "."} - stages
    assert new.name.startswith("rehearse-policy-")
    head = "optimiser.lora={rank: 2, targets: [lm_head]}"
    options = ("--set", head, "--name", "head", "--dry-run", "--rehearse")
    refused = command("train", "toy/inpo", *QUICK, *options)
    assert refused.returncode == 4
    assert "lm_head" in refused.stderr

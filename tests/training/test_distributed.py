"""Two processes that train one model give what one gives, and each other's checkpoints are read."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.training import sharded_worker as worker

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def sharded(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("sharded")
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    script = str(ROOT / "tests/training/sharded_worker.py")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *launcher, script, str(folder)],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def weights(model) -> dict[str, torch.Tensor]:
    return {name: p.detach() for name, p in model.model.named_parameters()}


def apart(told: dict[str, torch.Tensor], model) -> float:
    return max(float((told[name] - p).abs().max()) for name, p in weights(model).items())


@pytest.mark.parametrize(("name", "tied"), [("flat", False), ("tied", True), ("hybrid", False)])
def test_three_steps_end_where_one_process_ends(sharded, tmp_path, name, tied):
    # 7, 3 and 5 pairs a step in packs of 60 tokens: uneven, and an empty pack among them
    alone = worker.trained(worker.scorer(tied), tmp_path)
    told = load_file(sharded / f"{name}.safetensors")
    assert apart(told, alone) < 1e-5
    assert apart(told, worker.scorer(tied)) > 1e-3


def test_one_process_goes_on_from_a_checkpoint_of_two(sharded):
    resumed = worker.trained(worker.scorer(), sharded / "flat", resume=True)
    assert apart(load_file(sharded / "flat.safetensors"), resumed) < 1e-5

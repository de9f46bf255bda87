"""8-bit AdamW: close to AdamW, in a quarter of the memory, resumed bit for bit, and sharded."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from harness.errors import MissingDependencyError
from harness.training.estimate import OPTIMISER_STATE_BYTES
from harness.training.optimisers import build_optimiser, set_learning_rate
from tests.training import eight_bit_worker as worker

pytestmark = pytest.mark.filterwarnings("ignore")  # torch's compiler warns of torchao's tensors
ROOT = Path(__file__).parents[2]
WEIGHT = 128 * 128


@pytest.fixture(scope="module")
def initial() -> torch.Tensor:
    pytest.importorskip("torchao", reason="torchao lies beside the environment: make eight-bit")
    return flat(worker.model())


@pytest.fixture(scope="module")
def alone(initial, tmp_path_factory) -> tuple[torch.Tensor, Path]:
    """The weights after three steps, and the folder with the checkpoint of the second."""
    folder = tmp_path_factory.mktemp("alone")
    return flat(worker.trained(folder).model), folder


@pytest.fixture(scope="module")
def by_two(initial, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("two")
    done = started(folder, 2)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def started(folder: Path, processes: int) -> subprocess.CompletedProcess[str]:
    launcher = ("-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}")
    script = str(ROOT / "tests/training/eight_bit_worker.py")
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.run(
        [sys.executable, *launcher, script, str(folder)],
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )


def flat(model: torch.nn.Module) -> torch.Tensor:
    weights = dict(model.named_parameters())
    return torch.cat([weights[name].detach().flatten() for name in sorted(weights)])


def flat_of(path: Path) -> torch.Tensor:
    weights = load_file(path)
    names = dict(worker.model().named_parameters())
    return torch.cat([weights[name].flatten() for name in sorted(names)])


def test_it_ends_near_adamw(initial, alone, tmp_path):
    # Codes lie 0.9 / 64 of a block's largest moment apart, so that one is off by 0.007 of it at
    # most; a step divides one moment by the root of another: 0.02 of the way is three times that.
    exact = flat(worker.trained(tmp_path, algorithm="adamw").model)
    away = float((alone[0] - exact).norm() / (exact - initial).norm())
    assert 0 < away < 0.02


def test_the_moments_take_a_quarter_of_the_memory(initial):
    layer = torch.nn.Linear(128, 128, bias=False)
    optimiser = build_optimiser(worker.SETTINGS, layer)
    layer.weight.grad = torch.ones_like(layer.weight)
    optimiser.step()
    moments = [optimiser.state[layer.weight][name] for name in ("exp_avg", "exp_avg_sq")]
    parts = [part for moment in moments for part in (moment.codes, moment.scale, moment.qmap)]
    taken = sum(part.untyped_storage().nbytes() for part in parts)
    # each: a byte a weight, float32 a block of 256, and a table of 256 float32
    assert taken == 2 * (WEIGHT + 4 * WEIGHT // 256 + 4 * 256)
    assert taken == OPTIMISER_STATE_BYTES["adamw-8bit"] * WEIGHT + 2 * 4 * 256
    assert taken / (OPTIMISER_STATE_BYTES["adamw"] * WEIGHT) == pytest.approx(0.25, abs=0.02)


def test_the_schedule_reaches_it_and_compiles_nothing_again(initial, alone, tmp_path):
    from torch._dynamo.utils import counters

    graphs = counters["stats"]["unique_graphs"]
    changed = flat(worker.trained(tmp_path, learning_rate=2e-3, schedule="constant").model)
    assert counters["stats"]["unique_graphs"] == graphs > 0
    # Adam goes about a rate a step: 3 × 2 against 1 + 2/3 + 1/3 times 1e-3
    ratio = float((changed - initial).abs().max() / (alone[0] - initial).abs().max())
    assert ratio == pytest.approx(3, rel=0.1)


def test_the_first_step_is_as_long_as_its_rate(initial):
    # the moments of one gradient g = ± 1: g / (|g| + ε) is ± 1, whatever is kept of them
    layer = torch.nn.Linear(128, 128, bias=False)
    before = layer.weight.detach().clone()
    optimiser = build_optimiser(worker.SETTINGS, layer)
    set_learning_rate(optimiser, 0.25)
    layer.weight.grad = torch.randn_like(layer.weight).sign()
    optimiser.step()
    torch.testing.assert_close((layer.weight - before).abs(), torch.full_like(before, 0.25))


def test_a_resumed_training_ends_in_the_same_weights(alone):
    weights, folder = alone
    assert [path.name for path in folder.iterdir()] == ["step-2"]
    assert torch.equal(flat(worker.trained(folder, resume=True).model), weights)


def test_two_processes_end_where_one_ends(initial, alone, by_two):
    two = flat_of(by_two / "weights.safetensors")
    # sums of gradients differ in their last digit, which may tip a moment over to the next code
    assert float((two - alone[0]).abs().max()) < 1e-5
    assert float((two - initial).abs().max()) > 1e-3


def test_one_process_goes_on_from_the_checkpoint_of_two(by_two):
    resumed = flat(worker.trained(by_two, resume=True).model)
    assert float((resumed - flat_of(by_two / "weights.safetensors")).abs().max()) < 1e-5


def test_shards_of_unequal_size_are_refused_at_the_start(initial, tmp_path):
    errors = started(tmp_path, 3).stderr
    assert (
        "the 128 rows of model.model.embed_tokens.weight do not divide among 3 processes" in errors
    )
    assert not list(tmp_path.iterdir())


def test_without_torchao_it_is_a_missing_dependency(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchao.optim", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'preference-harness\[eight-bit"):
        build_optimiser(worker.SETTINGS, torch.nn.Linear(2, 2))

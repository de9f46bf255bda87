"""Two processes that train one model give what one gives, and each other's checkpoints are read."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from harness.training.distributed import gather_full_weights, process_group, shard
from tests.training import sharded_worker as worker

PRELOADED = ["harness.training.optimisation", "transformers.models.llama.modeling_llama"]


@pytest.fixture(scope="module")
def sharded(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("sharded")
    run("begin", folder, processes=2)
    return folder


@pytest.fixture(scope="module")
def resumed_by_three(sharded) -> Path:
    run("go-on", sharded, processes=3)
    return sharded


def run(what: str, folder: Path, processes: int) -> None:
    """Run the worker in a group of processes, forked from a server that has imported torch."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    group = [
        context.Process(target=worker.main, args=(what, folder, rank, processes))
        for rank in range(processes)
    ]
    for process in group:
        process.start()
    for process in group:
        process.join()
    assert [process.exitcode for process in group] == [0] * processes


def weights(model) -> dict[str, torch.Tensor]:
    return {name: p.detach() for name, p in model.named_parameters()}


def apart(expected: dict[str, torch.Tensor], model) -> float:
    return max(float((expected[name] - p).abs().max()) for name, p in weights(model).items())


def adapted(folder: Path, resume: bool = False):
    adapters = worker.adapted()
    worker.trained(adapters.scorer("float32"), folder, resume=resume)
    return adapters.full_model()


def low(folder: Path, resume: bool = False) -> dict[str, torch.Tensor]:
    with process_group():
        scorer = worker.scorer(dtype="bfloat16")
        shard(scorer)
        return gather_full_weights(worker.trained(scorer, folder, resume=resume))


@pytest.mark.parametrize(
    ("name", "tied"),
    [("flat", False), ("tied", True), ("hybrid", False), ("offloaded", False)],
)
def test_three_steps_end_where_one_process_ends(sharded, tmp_path, name, tied):
    # 7, 3 and 5 pairs a step in packs of 60 tokens: uneven, and an empty pack among them
    alone = worker.trained(worker.scorer(tied), tmp_path)
    sharded_weights = load_file(sharded / f"{name}.safetensors")
    assert apart(sharded_weights, alone.model) < 1e-5
    assert apart(sharded_weights, worker.model(tied)) > 1e-3


def test_in_bfloat16_two_processes_end_near_where_one_ends(sharded, tmp_path):
    # masters are float32: rounded weights differ where a sum's last digit tips one over only
    single = low(tmp_path)
    assert {p.dtype for p in single.values()} == {torch.float32}
    two = load_file(sharded / "low.safetensors")
    exact = load_file(sharded / "flat.safetensors")
    travelled = max(float((single[n] - p).abs().max()) for n, p in weights(worker.model()).items())
    apart_ = max(float((single[name] - two[name]).abs().max()) for name in single)
    assert apart_ < 0.02 * travelled
    assert any(not torch.equal(two[name], exact[name]) for name in two)
    resumed = low(sharded / "low", resume=True)  # from step 2 of two processes
    assert max(float((resumed[name] - two[name]).abs().max()) for name in two) < 0.02 * travelled


def test_adapters_on_sharded_weights_end_where_one_process_ends(sharded, tmp_path):
    pytest.importorskip("peft")
    sharded_weights = load_file(sharded / "adapted.safetensors")
    assert apart(sharded_weights, adapted(tmp_path)) < 1e-5
    initial = worker.model()
    assert apart(sharded_weights, initial) > 1e-3
    assert torch.equal(
        sharded_weights["model.embed_tokens.weight"], initial.get_input_embeddings().weight
    )


def test_one_process_goes_on_from_a_checkpoint_of_two(sharded):
    resumed = worker.trained(worker.scorer(), sharded / "flat", resume=True)
    assert apart(load_file(sharded / "flat.safetensors"), resumed.model) < 1e-5
    sharded_weights = load_file(sharded / "adapted.safetensors")
    assert apart(sharded_weights, adapted(sharded / "adapted", resume=True)) < 1e-5


def test_both_processes_stop_at_the_same_loss_that_is_not_finite(sharded):
    first, second = ((sharded / f"lost-{rank}").read_text() for rank in range(2))
    assert first == second
    assert first.startswith(
        "the gradient at step 2 is not finite (the checkpoint of step 1 is kept)"
    )
    assert first.endswith("or lower optimiser.learning_rate")


@pytest.mark.parametrize("name", ["flat", "adapted"])
def test_three_processes_go_on_from_a_checkpoint_of_two(resumed_by_three, name):
    runs = [load_file(resumed_by_three / f"{name}{end}.safetensors") for end in ("", "-resumed")]
    assert runs[0].keys() == runs[1].keys()
    assert max(float((runs[0][key] - runs[1][key]).abs().max()) for key in runs[0]) < 1e-5

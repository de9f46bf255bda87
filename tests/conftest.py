"""What every test may use: a small policy in the toy world, and a workspace of its own."""

from __future__ import annotations

import logging
import os
import signal
from pathlib import Path

import pytest

signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where a shell's `&` started us
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # ignored under nohup
os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # before torch is imported, as the command line
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # a worker a core

from harness.core.stages import StageStore
from harness.core.workspace import Workspace
from harness.toy.world import ToyCorpus
from harness.training.optimisers import OptimiserSettings
from harness.training.sft import FineTunedPolicy

SHARED = Path(__file__).parents[2] / "shared"


def tiny(seed: int = 0) -> FineTunedPolicy:
    """A recipe that takes a second: it knows the grammar a little and no task."""
    return FineTunedPolicy(
        name="tiny",
        texts=ToyCorpus(count=640),
        optimiser=OptimiserSettings(learning_rate=5e-3, batch=64, epochs=2),
        hidden=32,
        layers=2,
        heads=2,
        intermediate=64,
        seed=seed,
    )


@pytest.fixture(scope="session")
def tiny_store(tmp_path_factory: pytest.TempPathFactory) -> StageStore:
    return StageStore(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def tiny_policy(tiny_store: StageStore) -> str:
    """The folder of a small policy."""
    return tiny_store.materialize(tiny().weights()).path


@pytest.fixture(autouse=True)
def loggers_work() -> None:
    """What a test before has left of `logging`: libraries silence loggers that exist already."""
    logging.disable(logging.NOTSET)
    for name, logger in logging.root.manager.loggerDict.items():
        if name.partition(".")[0] == "harness" and isinstance(logger, logging.Logger):
            logger.disabled, logger.propagate = False, True


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "runs")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The protocol data and recorded judges beside the repository."""
    if not SHARED.is_dir():
        pytest.skip("needs the protocol data in ../shared")
    return SHARED


SLOW = (
    *("api", "cli", "docs", "engines", "evaluation", "faults", "fidelity"),
    *("judges", "launchers", "oracles", "theory", "training"),
    *("leaderboard/test_byte_identity.py", "leaderboard/test_cli.py", "leaderboard/test_seeds.py"),
    *("statistics/test_coverage.py", "statistics/test_power.py"),
    *("statistics/test_length_control_coverage.py", "statistics/test_length_control_glm.py"),
    *("statistics/test_length_control.py", "statistics/test_style_control.py"),
    *("test_component_versions.py", "test_library.py", "test_light_installation.py"),
    *("core/test_hardware.py", "core/test_source_code.py", "test_packaging.py"),
)
"""Folders and files that `make test-fast` leaves out, as it does every test that is marked slow
itself."""


LONGEST = (
    "cli/test_demo.py",
    "launchers/test_slurm.py",
    "fidelity/test_alpaca_eval.py",
    "theory/test_language.py",
    "launchers/test_ray.py",
    "launchers/test_group_entry.py",
    "test_benchmarks.py",
    "judges/test_vllm.py",
    "training/test_methods.py",
    "benchmarks/academic/test_benchmark.py",
    "docs/test_sessions.py",
    "launchers/test_local.py",
    "training/test_head_to_head.py",
    "training/test_distributed.py",
    "api/test_sweep.py",
    "leaderboard/report/test_browser.py",
)
"""Files of 20 seconds or more: they begin first, so that no worker is left with one at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    tests = Path(__file__).parent
    for item in items:
        name = item.path.relative_to(tests)
        if {name.parts[0], name.as_posix()} & {*SLOW, *LONGEST} or "report" in name.parts:
            item.add_marker(pytest.mark.slow)
    order = {name: position for position, name in enumerate(LONGEST)}
    items.sort(key=lambda i: order.get(i.path.relative_to(tests).as_posix(), len(order)))

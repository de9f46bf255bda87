"""The device of a stage, from the system's files; hidden devices do not count."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.core import hardware
from harness.core.hardware import device_name
from harness.engines.canned import CannedEngine
from harness.engines.openai import OpenAIEngine
from harness.engines.transformers import TransformersEngine
from harness.engines.vllm import VLLMEngine
from harness.oracles.rule import RuleOracle
from harness.protocols import accelerators_needed


@pytest.fixture
def system(tmp_path: Path, monkeypatch) -> Path:
    """A machine with two cards of one model, and a torch that can use them."""
    for name in hardware.VISIBILITY_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(hardware, "_is_cpu_build", lambda: False)
    (tmp_path / "dev").mkdir()
    for i in range(2):
        (tmp_path / f"dev/nvidia{i}").touch()
        folder = tmp_path / f"proc/driver/nvidia/gpus/0000:0{i}:00.0"
        folder.mkdir(parents=True)
        (folder / "information").write_text("Model: \t\t NVIDIA H100 80GB HBM3\nIRQ:   \t 188\n")
    return tmp_path


def test_the_driver_tells_the_model(system):
    assert device_name(system) == "NVIDIA H100 80GB HBM3"


def test_without_the_drivers_word_it_is_the_makers_name(system, tmp_path):
    for path in (tmp_path / "proc").rglob("information"):
        path.unlink()
    assert device_name(system) == "NVIDIA"
    (tmp_path / "amd/dev").mkdir(parents=True)
    (tmp_path / "amd/dev/kfd").touch()
    assert device_name(tmp_path / "amd") == "AMD"


@pytest.mark.parametrize("hidden", ["", "-1"])
def test_devices_that_are_hidden_are_not_computed_on(system, monkeypatch, hidden):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    assert device_name(system) == "CPU"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert device_name(system) == "NVIDIA H100 80GB HBM3"


def test_a_torch_for_processors_computes_on_them(system, monkeypatch):
    monkeypatch.setattr(hardware, "_is_cpu_build", lambda: True)
    assert device_name(system) == "CPU"


def test_a_machine_without_devices_computes_on_its_cpu(tmp_path):
    assert device_name(tmp_path) == "CPU"


def test_components_tell_how_many_they_take_and_one_that_does_not_takes_one():
    assert accelerators_needed(VLLMEngine(tensor_parallel_size=4)) == 4
    assert accelerators_needed(TransformersEngine()) == 1
    assert accelerators_needed(TransformersEngine(device="cpu")) == 0
    assert accelerators_needed(OpenAIEngine(base_url="http://127.0.0.1:1/v1")) == 0
    assert (
        accelerators_needed(CannedEngine())
        == accelerators_needed(RuleOracle(rule=lambda *_: 0.5))
        == 0
    )
    assert accelerators_needed(object()) == 1


@pytest.mark.parametrize(
    "order", ["limit_threads(1); import torch", "import torch; limit_threads(1)"]
)
def test_threads_are_limited_before_and_after_torch_is_imported(order):
    code = (
        f"from harness.core.hardware import limit_threads; {order}; print(torch.get_num_threads())"
    )
    command = [sys.executable, "-c", code]
    environment = os.environ | {"OMP_NUM_THREADS": "2"}
    out = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert out.stdout.split() == ["1"]

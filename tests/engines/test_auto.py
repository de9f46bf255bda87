from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest

from harness.core.config import build, identity, load, names
from harness.engines import auto
from harness.engines.transformers import TransformersEngine
from harness.engines.vllm import VLLMEngine
from harness.errors import ConfigError
from harness.protocols import GenerationEngine


@pytest.mark.parametrize(
    ("installed", "gpu", "engine", "because"),
    [
        (True, True, VLLMEngine, "vLLM and a GPU are available"),
        (True, False, TransformersEngine, "there is no GPU"),
        (False, True, TransformersEngine, "vLLM is not installed"),
    ],
)
def test_the_machine_decides(
    monkeypatch: pytest.MonkeyPatch, installed: bool, gpu: bool, engine: type, because: str
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object() if installed else None)
    monkeypatch.setattr(auto, "has_gpu", lambda: gpu)
    chosen = build(load("engine", "auto", ["preferred.tensor_parallel_size=2"]))
    assert isinstance(chosen, engine)
    assert chosen.selection_reason == because
    assert getattr(chosen, "tensor_parallel_size", None) == (2 if engine is VLLMEngine else None)


def test_a_choice_is_known_by_the_engine_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auto, "has_gpu", lambda: False)
    chosen = build(load("engine", "auto"))
    assert identity(chosen) == identity(build(load("engine", "transformers")))


@pytest.mark.parametrize("name", names("engine"))
def test_every_configuration_builds(name: str) -> None:
    assert isinstance(build(load("engine", name)), GenerationEngine)


def test_a_wrong_key_is_reported() -> None:
    with pytest.raises(ConfigError, match="batchsize"):
        build(load("engine", "auto", ["fallback.batchsize=3"]))


def test_building_imports_nothing_heavy() -> None:
    script = (
        "import sys; from harness.core.config import build, load, names\n"
        "for name in names('engine'): build(load('engine', name))\n"
        "heavy = {'transformers', 'vllm', 'openai', 'tokenizers'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

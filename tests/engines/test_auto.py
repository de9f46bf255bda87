from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable

import pytest

from harness.core.config import build, identity, load, names
from harness.core.hardware import ModelShape
from harness.engines import auto
from harness.engines.auto import FasterEngine
from harness.engines.transformers import TransformersEngine
from harness.engines.vllm import VLLMEngine
from harness.errors import ConfigError
from harness.protocols import GenerationEngine, Sampling
from harness.types import Message, Policy, Prompt, Request


@pytest.mark.parametrize(
    ("installed", "gpu", "engine", "because"),
    [
        (True, True, VLLMEngine, "vLLM and a GPU are available"),
        (True, False, FasterEngine, "there is no GPU: vLLM for long work, transformers for short"),
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


SMALL = ModelShape(
    layers=30,
    hidden=576,
    intermediate=1536,
    heads=9,
    key_value_heads=3,
    vocabulary=49152,
    tied=True,
)  # SmolLM2-135M
TOY = SMALL.model_copy(update={"layers": 1, "vocabulary": 100})


@pytest.mark.parametrize(
    ("shape", "samples", "max_tokens", "engine"),
    [
        (SMALL, 128, 300, VLLMEngine),  # 38,400 tokens
        (SMALL, 128, 64, TransformersEngine),  # 8,192 tokens are over before vLLM has started
        (SMALL, 805, 4096, VLLMEngine),
        (TOY, 100_000, 400, TransformersEngine),
        (None, 100_000, 400, TransformersEngine),
    ],
)
def test_on_the_cpu_the_work_decides(
    monkeypatch: pytest.MonkeyPatch, shape: object, samples: int, max_tokens: int, engine: type
) -> None:
    monkeypatch.setattr(auto, "configured_shape", lambda policy: shape)
    both = FasterEngine(preferred=VLLMEngine(), fallback=TransformersEngine())
    request = Request(Prompt("p", (Message("user", "x"),)), samples, 0)
    chosen = both.choose(Policy("p", "p"), [request], Sampling(max_tokens=max_tokens))
    assert isinstance(chosen, engine)


def test_short_work_is_done_by_transformers(policy: Policy, ask: Callable[..., Request]) -> None:
    both = FasterEngine(preferred=VLLMEngine(python="none"), fallback=TransformersEngine())
    requests, sampling = [ask("w1", 2)], Sampling(max_tokens=4)
    alone = TransformersEngine().generate(policy, requests, sampling, lambda _: None)
    assert both.generate(policy, requests, sampling, lambda _: None) == alone
    with both.resident(policy, requests, sampling) as answer:
        assert answer([0], lambda _: None) == alone
    assert both.lm_eval(policy) == TransformersEngine().lm_eval(policy)


def test_a_choice_is_known_by_the_engine_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
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

"""The toy judge serves itself, and a placeholder is no model."""

from __future__ import annotations

import subprocess
import sys
import urllib.request

import pytest

import harness as ph
from harness.core import config
from harness.errors import ConfigError
from harness.judges.client import OpenAIClient


def test_the_toy_judge_needs_no_server(monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    first, second = (config.build(config.load("judge", "toy")) for _ in range(2))
    assert type(first) is OpenAIClient
    assert first.url == second.url  # one server a process
    with urllib.request.urlopen(f"{first.url}/models", timeout=10) as response:
        assert b"toy-judge" in response.read()
    assert ph.judge("toy").client.url == first.url


def test_a_process_that_has_served_it_ends():
    code = "import harness as ph; print(ph.judge('toy').client.url)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout.startswith("http://127.0.0.1:")


def test_an_address_that_is_named_is_asked():
    client = ph.judge("toy", base_url="http://127.0.0.1:9/v1", overrides={"concurrency": 3}).client
    assert (client.url, client.concurrency) == ("http://127.0.0.1:9/v1", 3)
    plain = OpenAIClient(model="toy-judge", base_url="http://127.0.0.1:9/v1")
    assert config.identity(client) == config.identity(plain)


@pytest.mark.parametrize("model", ["NAME", "MODEL_NAME", "<model>", "your-model"])
def test_a_placeholder_is_refused_before_anything_is_asked(model):
    with pytest.raises(ConfigError, match="placeholder .*--set judge.model="):
        ph.judge("compatible", overrides={"model": model})


def test_a_model_that_is_named_is_none():
    judge = ph.judge("compatible", overrides={"model": "my-judge"})
    assert judge.client.model == "my-judge"
    with pytest.raises(ConfigError, match="the placeholder 'NAME'"):
        ph.judge("compatible")

"""No code of a model's folder or of a hub is run, whatever is typed at the terminal."""

from __future__ import annotations

import ast
import io
import json
import sys
from pathlib import Path

import pytest

from harness.core import hub
from harness.errors import ConfigError, PolicyError
from harness.types import Policy

ROOT = Path(__file__).parents[2]
LOADERS = {"from_pretrained", "from_config", "from_engine_args", "get_model", "EngineArgs"}
WITHOUT_CODE = {"GenerationConfig.from_pretrained", "LLMEngine.from_engine_args", "get_model"}
"""They read plain data, or are called with an object that has the setting already."""


def loading_calls() -> list[tuple[str, ast.Call]]:
    calls = []
    for package in ("harness", "baselines", "leaderboard"):
        for path in sorted((ROOT / package).rglob("*.py")):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            calls += [
                (f"{path.relative_to(ROOT)}:{node.lineno} {ast.unparse(node.func)}", node)
                for node in ast.walk(tree)
                if isinstance(node, ast.Call)
                and ast.unparse(node.func).rpartition(".")[2] in LOADERS
                and ast.unparse(node.func) not in WITHOUT_CODE
            ]
    return calls


def test_whatever_loads_a_model_says_that_its_code_is_not_run():
    calls = loading_calls()
    assert len(calls) >= 9
    for name, call in calls:
        settings = {key.arg: ast.unparse(key.value) for key in call.keywords}
        refused = settings.get("trust_remote_code") == "False"
        assert refused or settings.get(None) == "NO_REMOTE_CODE", name
    assert hub.NO_REMOTE_CODE == {"trust_remote_code": False}


@pytest.fixture
def evil(tmp_path, tiny_policy):
    """A policy's folder with code of its own, which makes a file when it is run."""
    config = json.loads((Path(tiny_policy) / "config.json").read_text())
    classes = {"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"}
    config |= {"model_type": "evil", "auto_map": classes | {"AutoTokenizer": ["evil.Tok", None]}}
    for file in filter(Path.is_file, Path(tiny_policy).iterdir()):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'called')!r}, 'w').close()\n")
    return tmp_path


@pytest.mark.parametrize("load", ["load_model", "uninitialized_model"])
def test_a_folder_with_code_is_refused_without_a_question(evil, monkeypatch, load):
    import torch

    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n" * 50))
    monkeypatch.setenv("HF_HOME", str(evil / "hf"))
    policy = Policy("evil", str(evil))
    arguments = (torch.float32, "cpu") if load == "load_model" else ()
    with pytest.raises(PolicyError, match="no model in"):
        getattr(hub, load)(policy, *arguments)
    assert not (evil / "called").exists()
    assert sys.stdin.readline() == "y\n"  # nothing was asked


def test_data_sets_have_no_code():
    """Since version 4 `datasets` runs no script; an older one would."""
    import datasets

    assert int(datasets.__version__.partition(".")[0]) >= 4


def test_the_judges_server_runs_no_code_of_a_model():
    from harness.core.config import construct
    from harness.judges.vllm import VLLMClient

    fields = {"model": "m", "path": "p", "arguments": ["--trust-remote-code"]}
    with pytest.raises(ConfigError, match="a model's own code is never run"):
        construct(VLLMClient, fields)

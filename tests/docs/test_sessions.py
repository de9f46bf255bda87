"""Pages are followed from top to bottom, as a reader would type them, in one workspace.

What a test machine lacks is put in its place: a judge on loopback for the one that is named, canned
answers for vLLM's. What is left out is run by the test that is named beside it.
"""

from __future__ import annotations

import gzip
import shlex
import shutil
from contextlib import ExitStack

import pytest
from typer.testing import CliRunner

from harness.cli.main import app
from harness.judges.toy_server import serving
from harness.types import Reply
from tests.docs import pages

LEFT_OUT = {
    "harness train": "tests/training/test_methods.py",
    "harness assets pull": "tests/benchmarks/test_assets.py",
    "--judge local": "tests/judges/test_vllm.py",
    "--judge panel": "tests/judges/test_costs.py",
    "--judge azure": "tests/judges/test_client.py",
    "--batch": "tests/judges/test_batch.py",
    "--resume": "tests/judges/test_batch.py",
    "harness judge bridge": "tests/evaluation/test_judge_bridge.py",
    "arena-hard-v2": "tests/benchmarks/arena_hard/test_v2.py",
    "--judge replay": "tests/judges/test_costs.py",
}
SHOWN_URL = "http://127.0.0.1:8000/v1"


def grader(model):
    """Return a judge that finds everything equal, in the words of whatever protocol asks."""

    def grade(messages, request):
        if request.get("logprobs"):
            return Reply("m", ((("m", -0.7), ("M", -0.7)),), "stop", model, 10, 1)
        text = "[[5]]" if "[[rating]]" in str(messages) else "My verdict is [[A=B]]."
        return Reply(text, None, "stop", model, 10, 10)

    return grade


@pytest.fixture
def judges():
    """Give the address of a judge of any name."""
    with ExitStack() as stack:
        known: dict[str, str] = {}

        def url(model):
            if model not in known:
                known[model] = stack.enter_context(serving(grader(model), model))
            return known[model]

        yield url


@pytest.fixture
def files(reader, shared, tiny_policy, monkeypatch):
    """What a reader has: protocol data, verdicts and answers in files, a policy, a result."""
    assets = shared / "assets"
    monkeypatch.setenv("HARNESS_ASSETS", str(assets))
    for name, path in {
        "annotations.json": assets / "alpaca_eval/annotations/claude-2.1.json.gz",
        "answers.json": shared / "replay/alpaca_eval/answers/claude-2.1.json.gz",
    }.items():
        (reader / name).write_bytes(gzip.decompress(path.read_bytes()))
    shutil.copytree(tiny_policy, reader / "my-model")
    typed(f"harness import alpaca-eval {assets}/alpaca_eval/annotations/gemma-7b-it.json.gz")
    return reader


def typed(line: str) -> str:
    done = CliRunner().invoke(app, shlex.split(line)[1:])
    assert done.exit_code == 0, f"{line}: {done.output}{done.exception!r}"
    return done.output


def here(line: str, judges) -> str:
    """Return a line with what this machine has in the place of what it lacks."""
    line = line.replace("--engine vllm", "--engine canned").replace(SHOWN_URL, judges("my-judge"))
    for model in ("gpt-4.1", "gpt-4"):
        asked = f"--judge {model} " in f"{line} " or f"doctor {model} " in f"{line} "
        if asked and "--base-url" not in line:
            line += f" --base-url {judges(model)}"
    return line


@pytest.mark.parametrize("page", ["docs/first-hour.md", "docs/judging.md"])
def test_a_page_can_be_followed(page, files, judges):
    lines = [shown.text for shown in pages.commands() if shown.page == page]
    followed = [
        line for line in lines if "--dry-run" in line or not any(o in line for o in LEFT_OUT)
    ]
    assert len(followed) > 8
    for line in followed:
        if "--policy ./my-model" in line and "--engine" not in line:
            line += " --engine canned"
        typed(here(line, judges))


@pytest.mark.parametrize("test", sorted(set(LEFT_OUT.values())))
def test_what_is_left_out_is_tested_elsewhere(test):
    assert (pages.ROOT / test).is_file()

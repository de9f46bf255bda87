"""Pages are followed from top to bottom in one workspace, as a reader would type them.

A judge on loopback replaces the judge that a command names, and canned answers replace vLLM's.
Commands of LEFT_OUT are not typed here; the test beside each of them holds what they do.
"""

from __future__ import annotations

import ast
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
    "harness train": "test_a_method_runs_and_begins_where_it_should",
    "harness assets pull": "test_pulled_files_are_located_and_checked",
    "--judge gpt-oss-120b": "test_a_judge_with_open_weights_is_served_and_asked",
    "--second-judge": "test_further_opinions_are_details_and_notes_and_change_no_figure",
    "--judge local": "test_a_judge_with_open_weights_is_served_and_asked",
    "--judge panel": "test_a_panel_is_asked_one_by_one_and_pays_for_all",
    "--judge azure": "test_where_and_how_it_is_asked_does_not_change_its_identity",
    "--batch": "test_submitted_now_and_fetched_later",
    "--resume": "test_submitted_now_and_fetched_later",
    "harness judge bridge": "test_it_is_shown_and_filed_and_nothing_is_asked_twice",
    "arena-hard-v2": "test_style_control_removes_the_gain_of_length",
    "--judge replay": "test_a_replay_repeats_what_is_stored_and_asks_nothing",
}
"""Parts of commands that are not typed here, and the test that holds what they do."""
SHOWN_URL = "http://127.0.0.1:8000/v1"


def grader(model):
    """Return a judge that calls everything a tie in the terms of any protocol."""

    def grade(messages, request):
        if request.get("logprobs"):
            return Reply("m", ((("m", -0.7), ("M", -0.7)),), "stop", model, 10, 1)
        text = "[[5]]" if "[[rating]]" in str(messages) else "My verdict is [[A=B]]."
        return Reply(text, None, "stop", model, 10, 10)

    return grade


@pytest.fixture
def judges():
    """Serve a judge under any name, and return its address."""
    with ExitStack() as stack:
        known: dict[str, str] = {}

        def url(model):
            if model not in known:
                known[model] = stack.enter_context(serving(grader(model), model))
            return known[model]

        yield url


@pytest.fixture
def files(reader, shared, tiny_policy, monkeypatch):
    """The reader's files: protocol data, verdicts, answers, a policy and a result."""
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
    """Return a command with this machine's judges and engine in place of those it lacks."""
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


SKIPS = ("skip", "skipif", "xfail", "faults", "gpu")


def running_tests() -> set[str]:
    """Return the names of all test functions whose decorators never skip them."""
    return {
        node.name
        for path in (pages.ROOT / "tests").rglob("test_*.py")
        for node in ast.parse(path.read_text("utf-8")).body
        if isinstance(node, ast.FunctionDef)
        and not any(f"mark.{mark}" in ast.unparse(d) for d in node.decorator_list for mark in SKIPS)
    }


def test_what_is_left_out_is_shown_and_tested_elsewhere():
    shown = " ".join(line.text for line in pages.commands())
    assert [part for part in LEFT_OUT if part not in shown] == []
    assert set(LEFT_OUT.values()) - running_tests() == set()

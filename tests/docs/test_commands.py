"""Every command on a page parses, its components are built, and it is run if it can be."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from harness.api import components, sweep_plans
from harness.cli.main import app
from harness.core import config
from harness.errors import ConfigError
from harness.judges.batch import cached_judge
from harness.judges.cached import JudgeOptions
from harness.training.spec import TrainSpec
from leaderboard import publications
from tests.docs import pages

OTHERS = ("make", "source", "cd", "export", "pip", "python", "python3", "sudo", "kill")
"""Other commands that a shell block may contain."""
FOREIGN = {"--tensor-parallel-size", "--help", "--install-completion", "--device", "--model"}
"""Options of other programs, and of every command."""
UsageError = typer.BadParameter.__mro__[1]
COMMANDS = pages.commands()
RUNS = {*config.names("train"), *re.findall(r"--name (\S+)", " ".join(c.text for c in COMMANDS))}
FREE = re.compile(
    r"harness (ls|config show|leaderboard --(paper|published)|assets ls"
    r"|train (?!.*--rehearse).*--dry-run)"
)
"""Commands that run without protocol data, a judge, a GPU or results, and train no policy."""


def parsed(line: str) -> tuple[str, Mapping[str, Any]]:
    """Return a command's name and its parameters; raise UsageError for an unknown option."""
    command, path = typer.main.get_command(app), []
    arguments = shlex.split(line)[1:]
    while hasattr(command, "commands"):
        path.append(arguments.pop(0))
        command = command.commands[path[-1]]
    with command.make_context(path[-1], arguments) as context:
        return " ".join(path), dict(context.params)


def check(name: str, options: Mapping[str, Any]) -> None:
    """Build every component that a command names."""
    overrides = options.get("overrides") or []
    if name == "train":
        config.construct(TrainSpec, config.load("train", options["name"], overrides))
        config.build(config.load("gpu", options["gpu"]))
    elif name == "sweep":
        grid = {"settings": options["settings"] or (), "seeds": options["seeds"]}
        sweep_plans.plan_sweep(options["methods"], **grid)
        for bench in options["bench"] or ():
            components.build_benchmark(bench, options["evaluation"] or ())
    elif name == "judge doctor":
        components.build_component(
            "judge", options["name"], [f"judge.{override}" for override in overrides]
        )
    elif name == "config show":
        config.load(*options["target"].split("/", 1), overrides)
    elif name == "theory run":
        config.build(config.load("theory", options["name"]))
    elif name == "ls":
        assert options["kind"] in {None, "runs", *config.kinds()}
    elif name == "leaderboard":
        documents = {options["paper"], *(options["published"] or ())} - {None, ""}
        assert documents <= {*publications.document_names(), publications.ALL}
    else:
        build(options, overrides)


def build(options: Mapping[str, Any], overrides: Sequence[str]) -> None:
    """Build the benchmark, judge, engine and policy that a command names."""
    judge = options.get("judge") or options.get("to")
    if bench := options.get("bench"):
        benchmark = components.build_benchmark(bench, overrides, None, options.get("compat"))
        judge = judge or getattr(benchmark, "default_judge", None)  # tasks have no judge
    if judge:
        cached_judge(
            components.build_component("judge", judge, overrides), Path("nowhere"), JudgeOptions()
        )
    if engine := options.get("engine"):
        components.build_component("engine", engine, overrides)
    if policy := options.get("policy"):
        components.build_policy(policy)
    if run := options.get("run"):
        assert run.partition("@")[0] in RUNS


@pytest.mark.parametrize("shown", COMMANDS, ids=str)
def test_a_command_that_is_shown_can_be_typed_and_what_it_names_is_built(shown, reader):
    check(*parsed(shown.text))


@pytest.mark.parametrize("shown", [c for c in COMMANDS if FREE.match(c.text)], ids=str)
def test_a_command_that_needs_nothing_runs(shown, reader):
    done = CliRunner().invoke(app, shlex.split(shown.text)[1:])
    assert done.exit_code == 0, done.output + repr(done.exception)
    assert done.output.strip()


def examples(command: Any) -> list[str]:
    """Return the example of every command from its help."""
    inner = getattr(command, "commands", {}).values()
    own = [] if inner else [command.epilog.removeprefix("Example: ")]
    return own + [line for subcommand in inner for line in examples(subcommand)]


@pytest.mark.parametrize("line", examples(typer.main.get_command(app)))
def test_the_example_of_a_command_can_be_typed_and_what_it_names_is_built(line, reader):
    check(*parsed(line))


def test_every_line_of_a_shell_block_is_known():
    targets = set(re.findall(r"^([\w-]+):", (pages.ROOT / "Makefile").read_text(), re.MULTILINE))
    for shown in pages.lines():
        word, *rest = shown.text.split()
        assert word.removeprefix(".venv/bin/") in ("harness", *OTHERS), shown
        if word == "make":
            assert targets >= {part for part in rest if "=" not in part}, shown
        if word.startswith("python") and rest[0].endswith(".py") and ".." not in rest[0]:
            assert (pages.ROOT / rest[0]).is_file(), shown


def walk(command: Any, path: tuple[str, ...] = ("harness",)) -> dict[str, set[str]]:
    """Return the options of every command by its name."""
    options_by_command = {
        " ".join(path): {o for p in command.params for o in (*p.opts, *p.secondary_opts)}
    }
    for name, inner in getattr(command, "commands", {}).items():
        options_by_command |= walk(inner, (*path, name))
    return options_by_command


def test_what_the_text_calls_a_command_or_an_option_is_one():
    known = walk(typer.main.get_command(app))
    options = set().union(*known.values()) | FOREIGN
    for shown in pages.spans():
        words = shown.text.split()
        if words[0] == "harness":
            depth = max(n for n in range(1, len(words) + 1) if " ".join(words[:n]) in known)
            groups = {name.rpartition(" ")[0] for name in known}
            assert depth > 1 or len(words) == 1 or words[1].startswith("-"), shown
            left = words[depth:]
            inside = " ".join(words[:depth]) in groups and left and left[0].isalpha()
            assert not (inside and left[0].islower()), shown
            allowed = known[" ".join(words[:depth])] | FOREIGN
            assert {w.partition("=")[0] for w in left if w.startswith("--")} <= allowed, shown
        elif words[0].startswith("--") and words[0] != "--8<--":
            assert words[0].partition("=")[0] in options, shown


@pytest.mark.parametrize(
    "line",
    [
        "harness train inpo --nope",
        "harness train inpoo",
        "harness train inpo --set objective.etaa=1",
        "harness eval --bench arena-hrd --policy x",
        "harness eval --bench arena-hard --policy x --judge nobody",
        "harness eval --bench arena-hard --policy x --set judge.modle=x",
        "harness leaderboard --paper nobody",
    ],
)
def test_what_is_not_there_is_refused(line, reader):
    with pytest.raises((UsageError, ConfigError, AssertionError)):
        check(*parsed(line))

"""Errors of the command line: one line and a documented exit code."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness import errors
from harness.core import config
from tests.cli.conftest import HARNESS, QUICK


def harness(*arguments: str, cwd: Path, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        (*HARNESS, *arguments),
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
        **options,
    )


def refused(process: subprocess.CompletedProcess[str], kind: type[errors.HarnessError]) -> str:
    """Check that a command failed as documented; return its error line."""
    lines = [line for line in process.stderr.splitlines() if line.startswith("error: ")]
    assert process.returncode == kind.exit_code, process.stderr
    assert len(lines) == 1
    assert "Traceback" not in process.stderr
    assert process.stderr.splitlines()[-1] == lines[0]
    return lines[0]


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        (("train", "inpoo"), errors.ConfigError, "did you mean 'inpo'?"),
        (("train", "toy/inpo", "--set", "objective.etaa=1"), errors.ConfigError, "Known: eta, tau"),
        (("train", "toy/inpo", "--set", "objective.tau=1/3"), errors.ConfigError, "got '1/3'"),
        (("ls", "trains"), errors.ConfigError, "did you mean 'train'?"),
        (("config", "show", "nothing/here"), errors.ConfigError, "Known: assets, bench"),
        (("leaderboard",), errors.StoreError, "harness demo"),
        (("eval", "--bench", "alpaca"), errors.ConfigError, "did you mean 'alpaca-eval'?"),
        (
            ("eval", "--bench", "toy-weighted", "--judge", "toy", "--run", "mine"),
            errors.ConfigError,
            "no run called 'mine'",
        ),
        (
            ("eval", "--bench", "alpaca-eval", "--answers", "answers.json", "--assets", "nowhere"),
            errors.AssetError,
            "harness assets pull alpaca_eval",
        ),
        (("train", "toy/inpo", "--name", "../../../x"), errors.ConfigError, "leaves the workspace"),
        (("train", "toy/inpo", "--name", "/x", "--dry-run"), errors.ConfigError, "--name"),
        (("train", "toy/inpo", "--name", "a@1"), errors.ConfigError, "NAME@ITERATION"),
        (
            ("eval", "--bench", "toy-weighted", "--run", "x", "--label", "a\x1b[31mb"),
            errors.ConfigError,
            "cannot be printed",
        ),
        (
            ("eval", "--bench", "toy-weighted", "--run", "../x"),
            errors.ConfigError,
            "no run called '../x'",
        ),
    ],
)
def test_what_does_not_fit_is_one_line(command, tmp_path, arguments, kind, message):
    assert message in refused(command(*arguments), kind)
    assert not (tmp_path / "runs").exists()


TOY = ("train", "toy/inpo", "--set", "engine={ref: engine/transformers}")


@pytest.mark.parametrize("kind", ["missing", "empty", "no tokenizer", "no template", "torn"])
def test_a_policy_that_cannot_be_used_is_named(command, tmp_path, tiny_policy, kind):
    path = tmp_path / "policy"
    copy(Path(tiny_policy), path, kind)
    source = "{use: 'harness.training.sources:Pretrained', name: mine, path: ./policy}"
    message = refused(command(*TOY, "--set", f"policy={source}"), errors.PolicyError)
    assert "policy" in message
    if kind == "no template":
        assert "--set policy.chat_template=FILE" in message


def copy(source: Path, target: Path, kind: str) -> None:
    if kind == "missing":
        return
    target.mkdir()
    for file in filter(Path.is_file, source.iterdir()):
        skipped = kind == "empty" or (kind == "no tokenizer" and "token" in file.name)
        if skipped or (kind == "no template" and file.suffix == ".jinja"):
            continue
        data = file.read_bytes()
        if kind == "no template" and file.name == "tokenizer_config.json":
            fields = json.loads(data)
            fields.pop("chat_template", None)
            data = json.dumps(fields).encode()
        torn = kind == "torn" and file.suffix == ".safetensors"
        (target / file.name).write_bytes(data[: len(data) // 2] if torn else data)


def test_a_run_of_another_configuration_is_refused_and_untouched(short_run, command, tmp_path):
    shutil.copytree(short_run, tmp_path, dirs_exist_ok=True)
    before = listing(tmp_path)
    other = command("train", "toy/inpo", *QUICK, "--set", "seed=9")
    assert "seed: 0 → 9" in refused(other, errors.RunExistsError)
    assert listing(tmp_path) == before
    renamed = command("train", "toy/inpo", *QUICK, "--set", "seed=9", "--name", "n")
    assert renamed.returncode == 0


def listing(root: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def small_files() -> None:
    """Limit the files of a process to 64 KiB, which acts like a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))


def test_a_full_disk_is_one_line_and_the_run_goes_on_with_space(command, tmp_path):
    full = harness("train", "toy/inpo", *QUICK, cwd=tmp_path, preexec_fn=small_files)
    assert "no space left for" in refused(full, errors.StoreError)
    assert not list(tmp_path.rglob(".partial-*"))
    assert command("train", "toy/inpo", *QUICK).returncode == 0


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_workspace_that_cannot_be_written_is_named(tmp_path):
    tmp_path.chmod(0o500)
    process = harness("train", "toy/inpo", *QUICK, cwd=tmp_path)
    assert "--workspace" in refused(process, errors.StoreError)


def test_a_judge_that_nobody_serves_is_an_error_within_seconds(short_run, command, tmp_path):
    shutil.copytree(short_run, tmp_path, dirs_exist_ok=True)  # the run is shared: answers are added
    process = command(
        *("eval", "--bench", "toy-weighted", "--run", "toy/inpo", "--judge", "toy"),
        *("--set", "count=8", "--set", "baseline.texts.count=192", "--engine", "transformers"),
        *("--base-url", "http://127.0.0.1:9/v1"),
    )
    assert "127.0.0.1:9" in refused(process, errors.JudgeError)


def test_the_list_has_every_kind_and_its_help_names_them(command):
    kinds = json.loads(command("ls", "--json").stdout)
    assert set(kinds) == {*config.kinds(), "published", "runs"}
    assert "inpo" in kinds["published"]
    help_text = " ".join(command("ls", "--help").stdout.replace("│", " ").split())
    for kind in kinds:
        assert re.search(rf"\b{kind}\b(,| or|;)", help_text), kind


def test_json_reaches_a_machine(command):
    kinds = json.loads(command("ls", "--json").stdout)
    assert "toy/inpo" in kinds["train"]
    shown = json.loads(command("config", "show", "train/inpo", "--json").stdout)
    assert shown["objective"]["eta"] == 0.005
    plan = json.loads(command("train", "toy/inpo", "--dry-run", "--json").stdout)
    assert not any(stage["cached"] for stage in plan["stages"])


@pytest.mark.parametrize("name", ["demo", "train", "eval", "leaderboard", "ls"])
def test_every_help_has_an_example(command, name):
    process = command(name, "--help")
    assert f"Example: harness {name}" in " ".join(process.stdout.split())


def test_the_shell_completes_names():
    words = {"COMP_WORDS": "harness train toy/inpo-w", "COMP_CWORD": "2"}
    process = subprocess.run(
        (Path(sys.executable).with_name("harness"),),
        env={**os.environ, **words, "_HARNESS_COMPLETE": "complete_bash"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert process.stdout.split() == ["toy/inpo-without-kl"]

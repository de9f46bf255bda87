"""No code runs by opening a folder: what `use:` may import, and who says so."""

from __future__ import annotations

import json
import os
import sys

import pytest

from harness.core import config, trust
from harness.core.config import Component
from harness.errors import ConfigError, RunExistsError

MODULE = """
from pathlib import Path
from typing import ClassVar

from harness.core.config import Component

Path({mark!r}).touch()


class Oracle(Component):
    transitive: ClassVar[bool] = False
    accelerators: ClassVar[int] = 0

    def compare(self, comparisons, advance):
        return [0.5 for _ in comparisons]


class Start(Component):
    name: str = "mine"


def function(**keys):
    return keys
"""


@pytest.fixture(autouse=True)
def _nothing_is_trusted(monkeypatch, tmp_path):
    """A user who trusts nothing yet, whatever other tests have imported."""
    for name in ("_named_modules", "_modules_of_named_files", "_named_files"):
        monkeypatch.setattr(trust, name, set())
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "theirs", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "user"))
    monkeypatch.setenv("PYTHONPATH", "")
    monkeypatch.setenv(trust.TRUST_VARIABLE, "")
    yield
    sys.modules.pop("theirs", None)


@pytest.fixture
def mark(tmp_path):
    """The file that the code of the folder makes when it is imported."""
    (tmp_path / "theirs.py").write_text(MODULE.format(mark=str(tmp_path / "called")))
    return tmp_path / "called"


def record(folder, use: str) -> None:
    """A run whose record names a class for its first policy."""
    path = folder / "runs/train/theirs/run.json"
    path.parent.mkdir(parents=True)
    settings = {"policy": {"use": use, "name": "x"}, "seed": 0}
    data = {"name": "theirs", "method": "INPO", "config": settings, "policies": ["nowhere"]}
    path.write_text(json.dumps({**data, "complete": True, "versions": {}}))


EVAL = ("eval", "--bench", "toy-labels", "--run", "theirs@0", "--judge", "replay", "--dry-run")


@pytest.mark.parametrize("on_path", [False, True])
def test_a_run_record_runs_nothing(command, tmp_path, mark, monkeypatch, on_path):
    record(tmp_path, "theirs:Start")
    if on_path:  # PYTHONPATH alone is no word for what a record names
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        monkeypatch.syspath_prepend(tmp_path)
    done = command(*EVAL)
    assert done.returncode == ConfigError.exit_code
    assert f"this would run {tmp_path}/theirs.py" in done.stderr
    assert f"`harness trust {tmp_path}`" in done.stderr
    assert not mark.exists()


def test_a_configuration_of_the_working_folder_runs_nothing(command, tmp_path, mark, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(tmp_path)
    path = tmp_path / "configs/oracle/toy.yaml"  # in the place of the package's own
    path.parent.mkdir(parents=True)
    path.write_text("use: theirs:Oracle\n")
    done = command("train", "toy/inpo", "--dry-run")
    assert done.returncode == ConfigError.exit_code
    assert f"this would run {tmp_path}/theirs.py" in done.stderr
    assert not mark.exists()
    assert command("--trust", ".", "train", "toy/inpo", "--dry-run").returncode == 0
    assert mark.exists()


OWN = "ref: train/toy/inpo\noracle: {use: 'theirs:Oracle'}\n"


def test_a_module_beside_a_configuration_needs_one_word(command, tmp_path, mark):
    (tmp_path / "mine.yaml").write_text(OWN)
    done = command("train", "mine.yaml", "--dry-run")
    assert done.returncode == ConfigError.exit_code
    assert f"or set PYTHONPATH={tmp_path}" in done.stderr
    assert not mark.exists()
    assert command("train", "mine.yaml", "--dry-run", "--trust", ".").returncode == 0
    assert mark.exists()


def test_a_folder_stays_trusted_until_it_is_removed(command, tmp_path, mark):
    (tmp_path / "mine.yaml").write_text(OWN)
    assert command("trust", ".").returncode == 0
    assert json.loads(command("trust", "--list", "--json").stdout) == [str(tmp_path)]
    assert command("trust", "--list").stdout == f"{tmp_path}\n"
    assert command("train", "mine.yaml", "--dry-run").returncode == 0
    assert mark.exists()
    assert command("trust", "--remove", ".").returncode == 0
    assert command("trust", "--list").stdout == ""
    assert command("trust", "--remove", ".").returncode == ConfigError.exit_code
    assert command("trust").returncode == ConfigError.exit_code


def test_a_file_named_by_its_path_may_use_the_python_path(command, tmp_path, mark, monkeypatch):
    (tmp_path / "base.yaml").write_text(OWN)
    (tmp_path / "mine.yaml").write_text("ref: train/base.yaml\nseed: 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert command("train", "mine.yaml", "--dry-run").returncode == ConfigError.exit_code
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert command("train", "mine.yaml", "--dry-run").returncode == 0
    assert mark.exists()


def test_a_module_that_the_user_types_is_his_own_act(command, tmp_path, mark, monkeypatch):
    typed = ("--set", "oracle={use: 'theirs:Oracle'}")
    done = command("train", "toy/inpo", "--dry-run", *typed)
    assert done.returncode == ConfigError.exit_code  # the working folder is on no module path
    assert not mark.exists()
    monkeypatch.syspath_prepend(tmp_path)
    assert command("train", "toy/inpo", "--dry-run", *typed).returncode == 0
    assert mark.exists()


@pytest.mark.parametrize(
    ("use", "message"),
    [
        ("subprocess:getoutput", "is no component"),
        ("subprocess:Popen", "is no component"),
        ("antigravity:x", "a module of Python itself"),
        ("harness.core.config:build", "is no component"),
        ("harness.__main__:main", "is not the name of a module"),
        ("harness.errors:HarnessError", "is no component"),
        ("pydantic:BaseModel", "is no component"),
        ("../theirs:Start", "is not the name of a module"),
        (".theirs:Start", "is not the name of a module"),
        ("", "is not the name of a module"),
        ("nowhere_at_all:X", "there is no module 'nowhere_at_all'.* PYTHONPATH"),
        ("harness.engines.auto:choose_engine", "is now 'harness.engines.auto:EngineChoice'"),
    ],
)
def test_only_components_are_built(use, message):
    with pytest.raises(ConfigError, match=message):
        config.build({"use": use})


def test_a_function_of_a_trusted_folder_is_not_called(tmp_path, mark, monkeypatch):
    monkeypatch.setenv(trust.TRUST_VARIABLE, os.pathsep.join(["", str(tmp_path)]))
    assert config.build({"use": "theirs:Start"}).name == "mine"
    with pytest.raises(ConfigError, match="is no component"):
        config.build({"use": "theirs:function", "cmd": "x"})


def test_a_folder_that_poses_as_the_package_is_not_the_package(tmp_path, monkeypatch):
    (tmp_path / "baselines").mkdir()
    (tmp_path / "baselines/__init__.py").write_text("raise SystemExit(1)")
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.partition(".")[0] == "baselines"]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(ConfigError, match=f"this would run {tmp_path}/baselines/__init__.py"):
        config.build({"use": "baselines.dpo:DPO", "beta": 0.1})


def test_a_folder_that_poses_as_an_installation_is_none(tmp_path, mark, monkeypatch):
    info = tmp_path / "theirs-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Name: theirs\nVersion: 1.0\n")
    (info / "RECORD").write_text("theirs.py,,\n")
    (tmp_path / "theirs.pth").write_text(str(tmp_path))
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match="its folder is not trusted"):
        config.build({"use": "theirs:Start"})
    assert not mark.exists()


def test_every_part_of_a_namespace_package_is_looked_at(tmp_path, monkeypatch):
    for name in ("mine", "theirs"):
        (tmp_path / name / "shared_space").mkdir(parents=True)
        monkeypatch.syspath_prepend(tmp_path / name)
    monkeypatch.setenv(trust.TRUST_VARIABLE, str(tmp_path / "mine"))
    with pytest.raises(ConfigError, match=f"{tmp_path}/theirs/shared_space"):
        trust.check_module("shared_space.module")


def test_installed_packages_and_what_is_imported_need_no_word():
    trust.check_module("pydantic.version")
    trust.check_module("harness.core.config")
    assert isinstance(config.build({"use": f"{__name__}:Here"}), Here)


class Here(Component):
    """A component of a module that has been imported."""


SENSITIVE = {
    "engine/vllm": (
        "use: harness.engines.vllm:VLLMEngine\npython: ./evil\n",
        "a program that would",
    ),
    "judge/gpt-4.1": (
        "use: harness.judges.client:OpenAIClient\nmodel: m\nbase_url: https://evil.example/v1\n",
        "your key would be sent",
    ),
    "judge/deep": (
        "use: harness.judges.panel:JudgePanel\n"
        "members: [{use: 'harness.judges.client:OpenAIClient', model: m, api_key_env: SECRET}]\n",
        "chooses a key of yours",
    ),
    "launcher/slurm": ("use: harness.launchers.slurm:SlurmLauncher\nsetup: [evil]\n", "shell code"),
}


@pytest.mark.parametrize("name", SENSITIVE)
def test_a_folders_configurations_choose_no_program_and_no_server(tmp_path, monkeypatch, name):
    text, message = SENSITIVE[name]
    kind, _, short = name.partition("/")
    path = tmp_path / f"configs/{name}.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=f"{message}.*`harness trust {tmp_path}`"):
        config.load(kind, short)
    assert config.load(kind, f"configs/{name}.yaml")  # he names the file himself
    trust._named_files.clear()
    monkeypatch.setenv(trust.TRUST_VARIABLE, str(tmp_path))
    assert config.load(kind, short)


def test_a_server_on_this_machine_is_no_secret(tmp_path, monkeypatch):
    path = tmp_path / "configs/judge/mine.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(
        "use: harness.judges.client:OpenAIClient\nmodel: m\nbase_url: http://127.0.0.1:1/v1"
    )
    monkeypatch.chdir(tmp_path)
    assert config.load("judge", "mine")["model"] == "m"


def test_a_dry_run_says_that_the_name_is_taken(command, tmp_path):
    record(tmp_path, "harness.training.sources:Pretrained")
    done = command("train", "toy/inpo", "--dry-run", "--name", "theirs")
    assert done.returncode == RunExistsError.exit_code
    assert "would run" in done.stdout  # the plan comes first
    assert "choose another name with --name" in done.stderr


def test_a_damaged_list_is_named(tmp_path):
    trust.list_path().parent.mkdir(parents=True)
    trust.list_path().write_text("[")
    with pytest.raises(ConfigError, match=r"trusted\.json is damaged .*: remove it"):
        trust.is_trusted(tmp_path)

"""The wheel: what a user installs has the configurations, and nothing of the repository's rest."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    command = (sys.executable, "-m", "pip", "wheel", str(ROOT), "--no-deps", "-w", str(out))
    built = subprocess.run((*command, "--no-build-isolation"), capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    return next(out.glob("preference_harness-*.whl"))


def test_the_wheel_holds_the_packages_and_the_configurations(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names if ".dist-info" not in name}
    assert tops == {"harness", "baselines", "leaderboard"}
    shipped = {p.relative_to(ROOT / "configs").as_posix() for p in ROOT.glob("configs/**/*.yaml")}
    assert {f"harness/_configs/{name}" for name in shipped} <= set(names)
    page = {p.relative_to(ROOT).as_posix() for p in ROOT.glob("leaderboard/report/assets/*")}
    assert page <= set(names)
    templates = {p.relative_to(ROOT).as_posix() for p in ROOT.glob("leaderboard/templates/*")}
    assert templates
    assert templates <= set(names)
    assert "harness/py.typed" in names
    published = {p.relative_to(ROOT).as_posix() for p in ROOT.glob("leaderboard/published/*.csv")}
    assert published <= set(names)


def test_an_installed_wheel_finds_its_configurations_anywhere(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    listed = subprocess.run(
        (sys.executable, "-m", "harness", "ls", "train"),
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "toy/inpo" in listed.stdout


def test_trl_is_for_development_only_and_vllm_is_an_extra():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert not any(d.startswith(("trl", "vllm", "accelerate")) for d in project["dependencies"])
    assert project["optional-dependencies"]["vllm"] == ["vllm==0.32.0"]
    assert any(d.startswith("trl") for d in project["optional-dependencies"]["dev"])


def test_every_dependency_is_pinned_by_the_constraints():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pinned = {
        line.split("==")[0].lower().replace("_", "-")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line
    }
    for requirement in project["dependencies"]:
        name = requirement.replace("=", ">").split(">")[0].strip().lower()
        assert name in pinned, requirement

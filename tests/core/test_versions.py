"""The commit in results: only of a checkout, and marked if the code was changed."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from harness.core.versions import commit


def git(root: Path, *arguments: str) -> str:
    command = ("git", "-c", "user.name=a", "-c", "user.email=a@example.org", "-C", str(root))
    return subprocess.run((*command, *arguments), check=True, capture_output=True, text=True).stdout


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository with one commit."""
    git(tmp_path, "init", "-q")
    (tmp_path / "code.py").write_text("x = 1\n")
    git(tmp_path, "add", "code.py")
    git(tmp_path, "commit", "-q", "-m", "first")
    return tmp_path


def test_a_clean_checkout_is_its_commit(root):
    assert commit(root) == git(root, "rev-parse", "HEAD").strip()


def test_changed_code_is_marked_and_new_files_beside_it_are_not(root):
    clean = commit(root)
    (root / "runs").mkdir()
    (root / "runs" / "result.json").write_text("{}")
    assert commit(root) == clean
    (root / "code.py").write_text("x = 2\n")
    assert commit(root) == f"{clean}+dirty"


def test_an_installed_copy_inside_another_repository_has_no_commit(root):
    (root / "lib/harness").mkdir(parents=True)
    assert commit(root / "lib") is None


def test_a_repository_in_the_environment_of_git_is_not_taken_for_ours(
    root, tmp_path_factory, monkeypatch
):
    clean, other = commit(root), tmp_path_factory.mktemp("other")
    git(other, "init", "-q")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    assert commit(root) == clean


def test_without_git_or_without_a_commit_nothing_is_reported(root, tmp_path_factory, monkeypatch):
    empty = tmp_path_factory.mktemp("empty")
    git(empty, "init", "-q")
    assert commit(empty) is None
    monkeypatch.setenv("PATH", str(empty))
    assert commit(root) is None

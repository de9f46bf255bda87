"""The promises that the layout makes."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("harness", "baselines", "leaderboard")
SOURCES = sorted(path for name in PACKAGES for path in (ROOT / name).rglob("*.py"))
HEAVY = (
    "torch",
    "transformers",
    "vllm",
    "openai",
    "datasets",
    "pandas",
    "alpaca_eval",
    "numpy",
    "pydantic",
)


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def loaded(code: str) -> list[str]:
    probe = f"{code}; import sys; print([m for m in {HEAVY} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    return ast.literal_eval(out.stdout.strip().splitlines()[-1])


def test_the_command_line_imports_nothing_heavy():
    assert loaded("import harness.cli.main") == []


def test_showing_the_help_imports_nothing_heavy():
    code = "from typer.testing import CliRunner; from harness.cli.main import app"
    assert loaded(f"{code}; CliRunner().invoke(app, ['--help'])") == []


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_files_and_functions_stay_small(path):
    text = path.read_text()
    assert text.count("\n") <= 600
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno - node.lineno < 60, node.name


def test_no_class_name_occurs_twice():
    names = [
        node.name
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    ]
    assert {name for name in names if names.count(name) > 1} == set()


HOLLOW_FILES = frozenset(
    "told found made given named filed drawn seen written beside compared measured published_by "
    "anchored stored kept batched choosing making taking serving leading utils helpers common "
    "manager base misc this that these who what".split()
)
"""Participles, pronouns and names that say nothing: no file is called so."""


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_the_name_of_a_file_is_a_noun(path):
    assert path.stem not in HOLLOW_FILES


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_only_the_command_line_prints(path):
    calls = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)]
    prints = [c for c in calls if isinstance(c.func, ast.Name) and c.func.id == "print"]
    assert not prints or path.name == "vllm_worker.py"


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_nothing_unpickles_or_evaluates(path):
    text = path.read_text()
    for word in ("pickle", "dill", "weights_only=False", "yaml.load(", "eval(", "exec("):
        stripped = text.replace("literal_eval(", "").replace(".eval()", "").replace("_eval(", "")
        assert word not in stripped


def test_every_exit_code_is_documented_and_its_own():
    from harness import errors

    kinds = [k for k in vars(errors).values() if isinstance(k, type)]
    codes = {kind.__name__: kind.exit_code for kind in kinds}
    own_codes = [kind.exit_code for kind in kinds if "exit_code" in vars(kind)]
    assert len(set(own_codes)) == len(own_codes)
    for kind, code in codes.items():
        assert any(kind in line and f" {code} " in line for line in errors.__doc__.splitlines())


def imports_of(path: Path, modules: frozenset[str]) -> set[str]:
    """The modules of the project that a file imports anywhere, for types alone included."""
    targets: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                targets.add(inner if inner in modules else node.module)
        elif isinstance(node, ast.Import):
            targets |= {alias.name for alias in node.names}
    return targets & modules


def test_no_files_import_each_other_in_a_circle():
    by_module = {name(p).removesuffix(".py").replace("/", "."): p for p in SOURCES}
    by_module = {module.removesuffix(".__init__"): path for module, path in by_module.items()}
    modules = frozenset(by_module)
    pending = {m: imports_of(path, modules) - {m} for m, path in by_module.items()}
    while leaves := [module for module, targets in pending.items() if not targets & pending.keys()]:
        for module in leaves:  # what imports nothing that is left is in no circle
            del pending[module]
    importers = {t for targets in pending.values() for t in targets}
    assert not {module for module in pending if module in importers}

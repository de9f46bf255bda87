"""A component's code does not change unless its version does, or somebody says that it need not."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SPEC = importlib.util.spec_from_file_location("versions", ROOT / "docs/component_versions.py")
assert SPEC is not None
assert SPEC.loader is not None
versions = importlib.util.module_from_spec(SPEC)
sys.modules["versions"] = versions
SPEC.loader.exec_module(versions)


LOSS = """
from harness.core.config import Component
from harness.scoring import parts
from harness.scoring.parts import SCALE as scale

@register
class Loss(Component):
    '''A loss.'''
    beta: float = 0.1  # of the paper

    def __call__(self, batch):
        from harness.toy.late import late
        return margin(batch) * scale * parts.share() + late

def margin(batch):
    return batch

def unrelated():
    return 1
"""
PARTS = "from harness.core.seeds import digest\n\nSCALE = 2\n\ndef share():\n    return digest(1)\n"
IMPORT = "from harness.core.config import Component\n"
FILES = {
    "harness/core/config.py": "class Component: pass\n",
    "harness/core/seeds.py": "def digest(x): return x\n",
    "harness/scoring/parts.py": PARTS,
    "harness/toy/late.py": "late = 3\n",
    "harness/objectives/loss.py": LOSS,
    "baselines/other.py": "from harness.objectives.loss import Loss\nclass Other(Loss): pass\n",
    "harness/launchers/local.py": IMPORT + "class Local(Component): pass\n",
}
NAMES = ["baselines.other:Other", "harness.objectives.loss:Loss"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def table(root: Path):
    return versions.current_table(versions.read_code(root))


def change(root: Path, name: str, before: str, after: str) -> None:
    text = (root / name).read_text()
    assert before in text
    (root / name).write_text(text.replace(before, after))


def test_no_components_code_has_changed_without_a_word():
    old = json.loads(versions.TABLE.read_text("utf-8"))
    new = versions.current_table(versions.read_code())
    undeclared = versions.undeclared(old, new)
    assert undeclared == [], "raise result_version, or: make versions SAME=CLASS"
    assert new == old, "run make versions"
    assert {"harness.objectives.inpo:INPO", "baselines.dpo:DPO"} < new.keys()


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("harness/objectives/loss.py", "return batch\n", "return -batch\n"),
        ("harness/objectives/loss.py", "beta: float = 0.1", "beta: float = 0.2"),
        ("harness/objectives/loss.py", "@register", "@other"),
        ("harness/scoring/parts.py", "SCALE = 2", "SCALE = 3"),
        ("harness/scoring/parts.py", "digest(1)", "digest(2)"),
        ("harness/toy/late.py", "3", "4"),
    ],
)
def test_code_that_a_component_names_is_its_own(root, name, before, after):
    old = table(root)
    assert list(old) == NAMES
    change(root, name, before, after)
    assert versions.undeclared(old, table(root)) == NAMES


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("harness/objectives/loss.py", "return 1\n", "return 2\n"),
        ("harness/objectives/loss.py", "# of the paper", "# of another"),
        ("harness/objectives/loss.py", "A loss.", "The loss."),
        ("harness/core/seeds.py", "return x", "return -x"),
        ("harness/launchers/local.py", "pass", "x = 1"),
    ],
)
def test_what_it_does_not_name_is_not(root, name, before, after):
    old = table(root)
    change(root, name, before, after)
    assert versions.undeclared(old, table(root)) == []


def test_a_raised_version_or_a_word_that_results_are_the_same_settles_it(root):
    old = table(root)
    change(root, "harness/objectives/loss.py", "return batch", "return -batch")
    new = table(root)
    assert versions.undeclared(old, new, ["Loss"]) == ["baselines.other:Other"]
    assert versions.undeclared(old, new, ["harness.objectives", "baselines.other:Other"]) == []
    version = "    result_version: ClassVar[int] = 2\n"
    change(root, "harness/objectives/loss.py", "    beta", f"{version}    beta")
    assert {entry["version"] for entry in table(root).values()} == {2}  # a subclass has it too
    assert versions.undeclared(old, table(root)) == []


def test_the_command_refuses_and_says_what_to_do(root, tmp_path, monkeypatch):
    monkeypatch.setattr(versions, "TABLE", tmp_path / "table.json")
    read_code = versions.read_code
    monkeypatch.setattr(versions, "read_code", lambda: read_code(root))
    assert versions.main([]) is None
    change(root, "harness/objectives/loss.py", "return batch", "return -batch")
    message = versions.main([])
    assert message is not None
    assert all(word in message for word in ("result_version", "--same-result", *NAMES))
    assert versions.main(["--same-result", "Loss", "Other"]) is None
    assert versions.main([]) is None

"""Code that is not part of the harness is identified by its files and by what they import."""

from __future__ import annotations

import importlib
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from harness.core import source_code
from harness.core.config import (
    CLASS_VERSION,
    IDENTIFIED_BY,
    SOURCE_CODE,
    Component,
    build,
    description,
    identity,
)
from harness.core.seeds import digest
from harness.core.source_code import (
    check_code_unchanged,
    code_digests,
    imported_modules,
    normalise,
)
from harness.core.stages import Stage, StageStore
from harness.errors import CheckError, ConfigError
from harness.objectives.inpo import INPO

FILES = {
    "mine/__init__.py": "",
    "mine/losses.py": """
        '''Losses.'''
        from harness.core.config import Component
        from . import parts
        from .deeper.scale import SCALE
        import beside
        import json

        class Mine(Component):
            '''A loss.'''
            beta: float = 0.1  # as in the paper

            def __call__(self, batch):
                import mine.late
                return parts.margin(batch) * SCALE
        """,
    "mine/parts.py": "def margin(batch):\n    return batch\n",
    "mine/deeper/__init__.py": "BASE = 1\n",
    "mine/deeper/scale.py": "from ..units import UNIT\nSCALE = 2 * UNIT\n",
    "mine/units.py": "UNIT = 1\n",
    "mine/late.py": "import importlib\nimportlib.import_module('mine.last')\n",
    "mine/last.py": "",
    "mine/unrelated.py": "X = 1\n",
    "beside.py": "X = 1\n",
    "mine/README.md": "",
}
IMPORTED = [
    *("beside.py", "mine/__init__.py", "mine/deeper/__init__.py", "mine/deeper/scale.py"),
    *("mine/last.py", "mine/late.py", "mine/losses.py", "mine/parts.py", "mine/units.py"),
]
PROBE = """
import json
from harness.core.config import build, identity
from harness.core.seeds import digest
print(digest(identity(build({"use": "mine.losses:Mine"}))))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(textwrap.dedent(text))
    return tmp_path


def probe(folder: Path) -> str:
    """The digest of the loss's identity in a process of its own."""
    path = f"{folder}:{Path(__file__).parents[2]}"
    command = [sys.executable, "-c", PROBE]
    env = {"PYTHONPATH": path, "HARNESS_TRUST": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout


def load(folder: Path, module: str, monkeypatch) -> type[Component]:
    monkeypatch.syspath_prepend(str(folder))
    for name in [n for n in sys.modules if n.partition(".")[0] in ("mine", "beside")]:
        monkeypatch.delitem(sys.modules, name)
    loss: type[Component] = importlib.import_module(module).Mine
    return loss


def test_the_files_that_a_class_imports_are_part_of_its_identity(folder, monkeypatch):
    loss = load(folder, "mine.losses", monkeypatch)
    assert list(code_digests(loss)) == IMPORTED
    data = identity(loss())
    assert data[IDENTIFIED_BY] == {SOURCE_CODE: code_digests(loss)}
    assert build(description(loss(beta=0.2))) == loss(beta=0.2)


def test_an_edit_of_the_code_changes_the_identity_and_one_beside_it_does_not(folder):
    before = probe(folder)
    (folder / "mine" / "unrelated.py").write_text("X = 2\n")
    (folder / "mine" / "README.md").write_text("other")
    losses = folder / "mine" / "losses.py"
    losses.write_text(losses.read_text().replace("as in the paper", "checked").replace("A l", "L"))
    assert probe(folder) == before
    digests = {before}
    for name in IMPORTED:
        file = folder / name
        file.write_text(file.read_text() + "\nOTHER = 3\n")
        digests.add(probe(folder))
    assert len(digests) == len(IMPORTED) + 1


def test_a_folder_may_be_renamed(folder):
    before = probe(folder)
    folder.rename(folder.with_name("renamed"))
    assert probe(folder.with_name("renamed")) == before


def test_code_of_the_package_goes_by_its_version(monkeypatch):
    assert code_digests(INPO) == {}
    loss = INPO(eta=0.1, tau=0.1)
    before = identity(loss)
    assert IDENTIFIED_BY not in before
    monkeypatch.setattr(INPO, "result_version", 2)
    assert identity(loss) == before | {IDENTIFIED_BY: {CLASS_VERSION: 2}}
    assert build(identity(loss)) == loss


def test_code_that_is_edited_while_it_is_in_use_stops_the_run(folder, monkeypatch):
    monkeypatch.setattr(source_code, "_identified", {})
    loss = load(folder, "mine.losses", monkeypatch)
    before = identity(loss())
    parts = folder / "mine" / "parts.py"
    parts.write_text(parts.read_text() + "# a remark\n")
    check_code_unchanged()
    parts.write_text(parts.read_text().replace("return batch", "return -batch"))
    assert identity(loss()) == before  # this process goes on with what it has loaded
    stage = Stage("a", 1, {}, {}, lambda out, inputs, track: (out / "x").write_text("x"))
    with pytest.raises(CheckError, match=r"mine.losses:Mine \(mine/parts.py\) was edited .*again"):
        StageStore(folder / "stages").materialize(stage)


class Rule(Component):
    rule: object = None


def half(prompt: str, first: str, second: str) -> float:
    return 0.5


def test_a_function_that_a_component_holds_counts_with_its_code():
    assert identity(Rule(rule=half))["rule"] == {
        "use": f"{__name__}:half",
        IDENTIFIED_BY: {SOURCE_CODE: code_digests(half)},
    }
    assert identity(Rule(rule=digest))["rule"] == {"use": "harness.core.seeds:digest"}
    with pytest.raises(ConfigError, match="has no identity"):
        identity(Rule(rule=lambda *_: 0.5))


def test_an_installed_package_is_known_by_its_version_and_its_files():
    import hypothesis

    (name,) = code_digests(hypothesis.Verbosity)
    assert name == f"hypothesis=={hypothesis.__version__}"


def test_a_package_that_the_code_imports_counts_and_what_the_harness_rests_on_does_not(
    tmp_path, monkeypatch
):
    text = "import json, torch, hypothesis\nclass Mine:\n    def f(self):\n        import absent\n"
    (tmp_path / "mine.py").write_text(text)
    names = list(code_digests(load(tmp_path, "mine", monkeypatch)))
    assert [name.partition("==")[0] for name in names] == ["hypothesis", "mine.py"]


def test_code_that_was_typed_into_a_session_counts():
    def digests(number: int) -> dict[str, str]:
        scope: dict[str, object] = {"__name__": "typed"}
        lines = (
            f"def scale(x): return {number} * x",
            "class Mine:",
            "    def f(self, x): return scale(x)",
        )
        code = "\n".join(lines)
        exec(compile(code, "<input>", "exec"), scope)  # as a notebook's cell
        return code_digests(scope["Mine"])

    assert digests(2) == digests(2) != digests(3)
    assert list(digests(2)) == [source_code.NO_FILE]


@pytest.mark.parametrize(
    ("text", "modules"),
    [
        ("import a.b, c as d", ["a.b", "c"]),
        ("from a import b, c", ["a.b", "a.c"]),
        ("from . import x", ["p.q.x"]),
        ("from ..r import x", ["p.r.x"]),
        ("from ... import x", ["x"]),
        ("def f():\n    __import__('late')", ["late"]),
        ("if", []),
    ],
)
def test_imports_are_read_wherever_they_are(text, modules):
    assert imported_modules(text, ("p", "q")) == modules


def test_comments_and_docstrings_are_no_code():
    function = "def f():\n    '''Ä ö'''\n    return 'a\\n#'  # ü\n"
    text = f'"""Über\n\nmehr"""\nx = "#"  # no\n\n\n{function}'
    assert normalise(text) == "x = \"#\"\ndef f():\n    return 'a\\n#'"
    assert normalise("no (python") == "no (python"

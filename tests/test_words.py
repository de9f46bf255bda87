"""The project speaks the field's language: retired words are in no name and in no sentence."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CODE = ("harness", "baselines", "leaderboard", "benchmarks", "tests", "docs")
SOURCES = sorted(path for name in CODE for path in (ROOT / name).rglob("*.py"))
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("baselines/*.md")])

HOLLOW = frozenset(
    "told tell tells found made given one ones place places stands stood standing named whole "
    "begun kept seen said says nought who whom".split()
)
"""Refused as a whole name: they say nothing about what the thing is."""

RETIRED = frozenset(
    "told docket desk tray purse ledger salvage upkeep realise realised gang crew conduct "
    "conductor unread examination sitting anchoring trainable nought".split()
)
"""Refused as a part of any name: see `docs/glossary.md` for what the field says instead."""

SENTENCES = (
    r"\bnought\b",
    r"(?<!--retry-)\bunread\b",
    r"not told from",
    r"four times in five",
    r"\bdocket\b",
    r"\bprocessor-hours\b",
)
"""Refused in comments, docstrings, messages and pages."""

OLD_KEYS = (ROOT / "harness/core/retired.py", ROOT / "harness/core/workspace/results.py")
"""Files that hold old keys, to refuse them or to read old files."""

UPSTREAM = frozenset()
"""Names that somebody else's interface fixes."""


def names(tree: ast.AST) -> set[str]:
    stored: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                stored.add(node.name)
            case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name):
                stored.add(name)
            case ast.alias(asname=str(name)):
                stored.add(name)
            case ast.Attribute(attr=name, ctx=ast.Store()):
                stored.add(name)
    return stored - UPSTREAM


def parts(name: str) -> set[str]:
    return set(re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower().split("_"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_name_is_hollow_or_retired(path):
    bad = {
        name
        for name in names(ast.parse(path.read_text()))
        if name.strip("_").lower() in HOLLOW or parts(name) & RETIRED
    }
    assert not bad


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_sentence_of_the_code_is_in_the_old_language(path):
    if path in (Path(__file__), *OLD_KEYS):
        return
    kinds = (tokenize.COMMENT, tokenize.STRING)
    tokens = tokenize.generate_tokens(io.StringIO(path.read_text()).readline)
    text = "\n".join(token.string for token in tokens if token.type in kinds)
    assert not [pattern for pattern in SENTENCES if re.search(pattern, text)]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_sentence_of_a_page_is_in_the_old_language(path):
    if path.name in ("glossary.md", "CHANGELOG.md"):  # they say what the old names were
        return
    text = path.read_text()
    assert not [pattern for pattern in SENTENCES if re.search(pattern, text)]

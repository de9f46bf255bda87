"""Results as `harness eval` files them, made by hand, and names that nobody should choose."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from harness.core.stages import ExternalInput, Stage, StageStore
from harness.types import Track

HOSTILE = (
    r"\input{/etc/passwd}",
    r"\include{secret}",
    r"\write18{touch owned}",
    r"\immediate\write18{id}",
    r"\openin5=/etc/passwd \read5 to\x",
    r"\catcode`\%=12",
    r"\def\end{}",
    r"\end{tabular}",
    r"\\",
    r"\\[5pt]",
    "[3cm]",
    "*",
    "**bold**",
    "%",
    "% comment",
    "a & b & c",
    "#1",
    "$x_1^2$",
    "$$",
    "{",
    "}",
    "{}}{{",
    "~^_",
    "^^41^^5cinput",
    "<b>&amp;</b>",
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "javascript:alert(1)",
    "[x](javascript:alert(1))",
    "![x](http://example.org/x.png)",
    "`code` | pipe",
    "a|b|c",
    "---",
    "``quoted''",
    "?`!`",
    '=HYPERLINK("http://example.org")',
    "+1+1",
    "-1+1",
    "@SUM(A1)",
    "=cmd|' /C calc'!A0",
    "\t=1+1",
    "\x1b[31mred\x1b[0m",
    "\x1b]0;title\x07",
    "\u202egpj.exe",
    "\u2066isolated\u2069",
    "\u200bzero\u200bwidth",
    "\ufeffmark",
    "../../x",
    "..",
    "/etc/passwd",
    "C:\\x",
    "a\nb",
    "a\rb",
    "a\x00b",
    "模型",
    "👩‍🔬 model",
    "naïve Ünïcödé",
    "τ/η = ⅓",
    "{{ 7 * 7 }}",
    "<% for x in y %>",
    "\\VAR{x}",
    "n" * 300,
    "",
    "   ",
)


@pytest.fixture
def hostile() -> tuple[str, ...]:
    return HOSTILE


def usage(dollars: float) -> dict[str, Any]:
    """What verdicts have cost, as a result's file holds it."""
    counts = ("calls", "unparsed", "quarantined", "failed", "prompt_tokens", "completion_tokens")
    return {**dict.fromkeys(counts, 0), "estimated": 0, "dollars": dollars, "seconds": None}


def stored_stage(
    root: Path,
    name: str,
    files: Mapping[str, str | bytes],
    *,
    key: str = "",
    inputs: Mapping[str, ExternalInput] | None = None,
) -> Path:
    """A stage of a workspace with these files; `key` sets it apart from another of that content."""

    def write(out: Path, paths: Mapping[str, str], track: Track) -> None:
        for file, data in files.items():
            (out / file).write_bytes(data.encode() if isinstance(data, str) else data)

    node = Stage(name, 1, {"key": key}, inputs or {}, write)
    return Path(StageStore(root / "stages").materialize(node).path)


def run_record(name: str, method: str, policies: Sequence[str], base: str = "start") -> str:
    """The record of a complete run."""
    record = {
        "name": name,
        "method": method,
        "config": {"policy": {"name": base}},
        "policies": list(policies),
        "complete": True,
        "versions": {},
    }
    return json.dumps(record)


File = Callable[..., Path]


@pytest.fixture
def file(tmp_path: Path) -> File:
    """File a result of a toy benchmark whose items are preferences; return its path."""

    def filed(
        label: str = "INPO",
        preferences: Sequence[float] = (0.5, 0.7, 0.9, 0.3),
        *,
        name: str | None = None,
        first: int = 0,
        **changes: object,
    ) -> Path:
        value = 100 * sum(preferences) / max(1, len(preferences))
        estimate = {"value": value, "low": value - 2, "high": value + 2, "standard_error": 1.0}
        items = [{"prompt_id": f"p{first + i}", "preference": p} for i, p in enumerate(preferences)]
        count = len(preferences)
        score = {
            "estimates": {"win_rate": estimate},
            "counts": {"asked": count, "judged": count, "unparsed": 0},
            "items": [],
            "notes": [],
        }
        data = {
            "schema": 4,
            "benchmark": "toy",
            "label": label,
            "baseline": "start",
            "judge": "judge-1",
            "judges_served": ["judge-1"],
            "score": score,
            "answers": count,
            "missing": 0,
            "mean_length": 31.25,
            "truncated": 0.0,
            "sources": {},
            "generation": {"tokens": 10 * count},
            "versions": {"preference-harness": "0.1.0"},
            "finish_reasons": {"stop": count},
            "requests": count,
            "new_requests": count,
            "answers_sha256": "",
            "judge_settings": {},
        } | changes
        folder = tmp_path / "runs" / "results" / str(data["benchmark"])
        path = folder / f"{quote(name or label, safe=' ')[:120]}.json"
        path.with_suffix("").mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(data))
        (path.with_suffix("") / "items.json").write_text(json.dumps(items))
        return path

    return filed


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """The workspace in which `file` files."""
    return tmp_path / "runs"

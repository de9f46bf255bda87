"""Every field of a result's files, with every other form: a page, or one line that says what is
wrong, and never a traceback."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.errors import StoreError
from leaderboard.report.content import build_content
from leaderboard.report.rendering import render_page
from leaderboard.report.site import site_files
from tests.leaderboard.conftest import run_record, stored_stage
from tests.leaderboard.report.conftest import FIRST, LOST, WON, without_sums

GONE = object()
FORMS = (None, 3, "x", [], {"a": 1}, [1], GONE)


def paths(data: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to every value; of a list only to the first."""
    yield at
    if isinstance(data, dict | list):
        for key, value in data.items() if isinstance(data, dict) else enumerate(data[:1]):
            yield from paths(value, (*at, key))


def changed(data: Any, at: tuple[Any, ...], form: Any) -> Any:
    """Return the data with another value in a place."""
    if not at:
        return form
    data = inner = copy.deepcopy(data)
    for key in at[:-1]:
        inner = inner[key]
    if form is GONE:
        del inner[at[-1]]
    else:
        inner[at[-1]] = form
    return data


@pytest.mark.parametrize("name", ["result", "items.json", "graded.json"])
def test_whatever_form_a_field_has_the_report_stands_or_says_so(play, workspace, name):
    play("other", [WON, LOST, FIRST, None])
    result: Path = without_sums(play("one", [WON, LOST, FIRST, None]))
    path = result if name == "result" else result.with_suffix("") / name
    data, refused = json.loads(path.read_text()), []
    for at in paths(data):
        for form in FORMS if at else FORMS[:-1]:
            path.write_text(json.dumps(changed(data, at, form)))
            try:
                content = build_content(workspace.root)
                assert render_page(content)
                assert list(site_files(content))
            except StoreError as error:
                refused.append(str(error))
    assert len(refused) > 10
    assert all("toy-labels/one" in message for message in refused)


def test_whatever_form_a_run_or_a_bridge_has_the_report_stands(play, workspace, bridge):
    play("start", [WON, LOST])
    play("INPO (iteration 1)", [WON, WON])
    log = {"step": 1, "margin": 0.5}
    stage = stored_stage(workspace.root, "optimise", {"log.jsonl": json.dumps(log)})
    files = {
        workspace.root / "train/inpo/run.json": json.loads(
            run_record("inpo", "INPO", ["start", str(stage), str(stage)])
        ),
        stage / "manifest.json": json.loads((stage / "manifest.json").read_text()),
        stage / "log.jsonl": log,
        workspace.root / "results/bridge/old--new.json": bridge,
    }
    for path, data in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(data))
    for path, data in files.items():
        for at in paths(data):
            for form in FORMS if at else FORMS[:-1]:
                path.write_text(json.dumps(changed(data, at, form)))
                content = build_content(workspace.root, include_comparisons=False)
                assert render_page(content)
                assert all("bridge/old--new.json" in message for message in content.messages)
        path.write_text(json.dumps(data))

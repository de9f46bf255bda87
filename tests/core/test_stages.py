"""The stage store: a result is computed once, is whole or absent, and is named by its inputs."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from harness.api.sweep_plans import recipe_key
from harness.core.io import write_atomically
from harness.core.manifests import read_manifest
from harness.core.stages import ExternalInput, Stage, StageStore, Track
from harness.errors import StoreError


def writer(text: str, calls: list[str] | None = None):
    def make(out: Path, inputs: Mapping[str, str], track: Track) -> None:
        if calls is not None:
            calls.append(text)
        before = "".join((Path(p) / "text").read_text() for _, p in sorted(inputs.items()))
        (out / "text").write_text(before + text)

    return make


def stage(name: str, text: str, calls: list[str] | None = None, **inputs) -> Stage:
    return Stage(name, 1, {"text": text}, inputs, writer(text, calls))


def test_a_stage_that_stands_is_not_made_again(tmp_path):
    calls: list[str] = []
    first = StageStore(tmp_path).materialize(stage("a", "x", calls))
    again = StageStore(tmp_path).materialize(stage("a", "x", calls))
    assert calls == ["x"]
    assert (first.created, again.created) == (True, False)
    assert first.path == again.path
    assert first.digest == again.digest


@pytest.mark.parametrize(
    "other",
    [
        Stage("b", 1, {"text": "x"}, {}, writer("x")),
        Stage("a", 2, {"text": "x"}, {}, writer("x")),
        Stage("a", 1, {"text": "y"}, {}, writer("y")),
        Stage("a", 1, {"text": "x"}, {"in": ExternalInput("folder", "digest")}, writer("x")),
    ],
    ids=["name", "version", "config", "inputs"],
)
def test_whatever_goes_in_is_part_of_the_name(tmp_path, other):
    store = StageStore(tmp_path)
    assert store.plan(stage("a", "x")) != []
    store.materialize(stage("a", "x"))
    assert [path for _, path in store.plan(other)] == [None]


def test_stages_are_known_by_the_content_of_their_inputs(tmp_path):
    calls: list[str] = []
    same = [Stage(name, 1, {}, {}, writer("same")) for name in ("a", "b")]
    for first in same:
        StageStore(tmp_path).materialize(stage("next", "!", calls, first=first))
    assert calls == ["!"]


def test_a_plan_shows_what_stands_and_makes_nothing(tmp_path):
    first = stage("a", "x")
    second = stage("b", "y", first=first)
    assert [path for _, path in StageStore(tmp_path).plan(second)] == [None, None]
    StageStore(tmp_path).materialize(first)
    before = sorted(tmp_path.iterdir())
    assert [bool(path) for _, path in StageStore(tmp_path).plan(second)] == [True, False]
    assert sorted(tmp_path.iterdir()) == before


def test_a_plan_looks_each_stage_up_once_however_many_ways_lead_to_it(tmp_path):
    node = stage("s0", "0")
    for depth in range(1, 40):  # 2 ** 39 ways from the last to the first
        node = stage(f"s{depth}", "x", first=node, second=node)
    planned = StageStore(tmp_path).plan(node)
    assert [s.name for s, _ in planned] == [f"s{depth}" for depth in range(40)]
    keys: dict[Stage, str] = {}
    recipe_key(node, keys)
    assert len(set(keys.values())) == 40


def test_the_manifest_tells_what_went_in_and_what_came_out(tmp_path):
    store = StageStore(tmp_path)
    artifact = store.materialize(stage("b", "y", first=stage("a", "x")))
    manifest = read_manifest(Path(artifact.path))
    assert manifest["config"] == {"text": "y"}
    assert manifest["files"]["text"]["bytes"] == 2
    assert manifest["inputs"]["first"]["digest"] == store.materialize(stage("a", "x")).digest
    assert {"python", "torch"} <= manifest["versions"].keys()


def test_a_stage_that_fails_leaves_nothing(tmp_path):
    def make(out, inputs, track):
        (out / "half").write_text("half")
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        StageStore(tmp_path).materialize(Stage("a", 1, {}, {}, make))
    assert [p.name for p in tmp_path.iterdir()] == [".locks"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_an_error_that_names_the_place(tmp_path, code):
    def make(out, inputs, track):
        raise OSError(code, os.strerror(code))

    with pytest.raises(StoreError, match="no space left for .*a-"):
        StageStore(tmp_path).materialize(Stage("a", 1, {}, {}, make))


def test_a_file_where_the_workspace_should_be_is_named(tmp_path):
    (tmp_path / "stages").write_text("")
    with pytest.raises(StoreError, match="cannot write .*--workspace"):
        StageStore(tmp_path / "stages").materialize(stage("a", "x"))


def test_a_stage_that_lost_bytes_is_not_used(tmp_path):
    path = Path(StageStore(tmp_path).materialize(stage("a", "text")).path)
    (path / "text").write_text("tex")
    with pytest.raises(
        StoreError, match=r"damaged \(text has another content\); remove it and run again: rm -r"
    ):
        StageStore(tmp_path).materialize(stage("a", "text"))


def slow(root: Path, started: str) -> None:
    def make(out, inputs, track):
        (out / "text").write_text("half")
        Path(started).write_text("")
        time.sleep(60)

    StageStore(root).materialize(Stage("a", 1, {"text": "x"}, {}, make))


def test_what_a_killed_process_left_is_cleared_and_its_lock_is_free(tmp_path):
    started = tmp_path / "begun"
    root = tmp_path / "stages"
    process = multiprocessing.get_context("fork").Process(target=slow, args=(root, str(started)))
    process.start()
    while not started.exists():
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert any(p.name.startswith(".partial-") for p in root.iterdir())
    artifact = StageStore(root).materialize(stage("a", "x"))
    assert (Path(artifact.path) / "text").read_text() == "x"
    assert not any(p.name.startswith(".partial-") for p in root.iterdir())


def one_of_two(root: Path, count: str) -> None:
    def make(out, inputs, track):
        with open(count, "a") as file:
            file.write("x")
        time.sleep(0.2)

    StageStore(root).materialize(Stage("a", 1, {}, {}, make))


def test_two_processes_make_a_stage_once(tmp_path):
    count = tmp_path / "count"
    context = multiprocessing.get_context("fork")
    processes = [
        context.Process(target=one_of_two, args=(tmp_path / "stages", str(count))) for _ in range(4)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert count.read_text() == "x"


def test_a_small_file_is_replaced_whole(tmp_path):
    path = tmp_path / "deep" / "file.json"
    write_atomically(path, json.dumps({"a": 1}))
    write_atomically(path, json.dumps({"a": 2}))
    assert json.loads(path.read_text()) == {"a": 2}
    assert [p.name for p in path.parent.iterdir()] == ["file.json"]

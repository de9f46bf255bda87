"""A stage's directory promises its content: its name, its manifest and every file are compared."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.core import file_hashes
from harness.core.io import sha256
from harness.core.manifests import (
    COPIES,
    MANIFEST,
    kept_manifests,
    load_manifest,
    read_manifest,
    result_digest,
    stage_name,
    verify_stages,
    with_sum,
)
from harness.core.stages import ExternalInput, Stage, StageStore
from harness.errors import StoreError

STEPS = ("generate", "pair", "optimise")


def write(out: Path, inputs, track) -> None:
    (out / "text").write_text("text of the stage")
    (out / "provenance").mkdir()
    (out / "provenance" / "log").write_text(str(time.time_ns()))


def chain(calls: list[str], *, seed: int = 0) -> Stage:
    """generate → pair → optimise; a result holds its name, the seed and its inputs' results."""

    def step(name: str):
        def run(out: Path, inputs, track) -> None:
            calls.append(name)
            before = Path(inputs["input"], "text").read_text() if name != STEPS[0] else ""
            (out / "text").write_text(f"{before} {name} {seed}")

        return run

    node: Stage | ExternalInput = ExternalInput("org/model", "weights")
    for name in STEPS:
        node = Stage(name, 1, {"seed": seed}, {"input": node}, step(name))
    assert isinstance(node, Stage)
    return node


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The directory of a stored stage."""
    return Path(StageStore(tmp_path / "stages").materialize(Stage("a", 1, {}, {}, write)).path)


def rewrite(path: Path, change: Callable[[dict], object], *, sealed: bool = False) -> None:
    manifest = json.loads((path / MANIFEST).read_text())
    changed = change(manifest)
    content = manifest if changed is None else changed
    (path / MANIFEST).write_text(json.dumps(with_sum(content) if sealed else content))


def flip_a_bit(path: Path) -> None:
    data = bytearray((path / "text").read_bytes())
    data[3] ^= 1
    (path / "text").write_bytes(data)


def flip_a_bit_and_set_the_clock_back(path: Path) -> None:
    before = (path / "text").stat()
    flip_a_bit(path)
    os.utime(path / "text", ns=(before.st_atime_ns, before.st_mtime_ns))


DAMAGE: dict[str, Callable[[Path], object]] = {
    "a bit": flip_a_bit,
    "a bit, with the old time": flip_a_bit_and_set_the_clock_back,
    "a file is shorter": lambda path: (path / "text").write_text("text"),
    "a file is missing": lambda path: (path / "text").unlink(),
    "a file is a folder": lambda path: ((path / "text").unlink(), (path / "text").mkdir()),
    "a record of the run": lambda path: (path / "provenance" / "log").write_text("other"),
    "no manifest": lambda path: (path / MANIFEST).unlink(),
    "a list": lambda path: (path / MANIFEST).write_text("[]"),
    "a number": lambda path: (path / MANIFEST).write_text("1"),
    "null": lambda path: (path / MANIFEST).write_text("null"),
    "no JSON": lambda path: (path / MANIFEST).write_text("{"),
    "no text": lambda path: (path / MANIFEST).write_bytes(b"\xff\xfe{"),
    "100,000 brackets": lambda path: (path / MANIFEST).write_text("[" * 100_000),
    "no files": lambda path: rewrite(path, lambda m: m.pop("files")),
    "files are a list": lambda path: rewrite(path, lambda m: m.update(files=[]), sealed=True),
    "a file is a text": lambda path: rewrite(
        path, lambda m: m["files"].update(text="x"), sealed=True
    ),
    "a file without a sum": lambda path: rewrite(
        path, lambda m: m["files"].update({"provenance/log": {}}), sealed=True
    ),
    "inputs are a text": lambda path: rewrite(path, lambda m: m.update(inputs="x"), sealed=True),
    "seconds": lambda path: rewrite(path, lambda m: m["provenance"].update(seconds=0)),
    "another sum": lambda path: rewrite(path, lambda m: m.update(sha256="0" * 64)),
    "another result": lambda path: rewrite(path, lambda m: m.update(digest="0" * 64), sealed=True),
    "another setting": lambda path: rewrite(path, lambda m: m.update(config={"x": 1}), sealed=True),
    "another step": lambda path: rewrite(path, lambda m: m.update(stage="b"), sealed=True),
    "another version": lambda path: rewrite(path, lambda m: m.update(version=2), sealed=True),
    "weights that are not its own": lambda path: (path / "adapter_config.json").write_text("{}"),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_whatever_is_changed_the_stage_is_refused_in_a_line_that_says_what_to_do(path, damage):
    read_manifest(path)
    damage(path)
    for use in (
        read_manifest,
        lambda p: StageStore(p.parent).materialize(Stage("a", 1, {}, {}, write)),
    ):
        with pytest.raises(StoreError, match=f"{path.name}.*(rm -r )") as caught:
            use(path)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 700
    assert [finding.path for finding in verify_stages(path.parent)] == [path]


def test_whole_stages_are_found_whole_and_foreign_files_are_reported(path):
    assert list(verify_stages(path.parent)) == []
    (path / "notes.md").write_text("a reader's own file changes no result")
    read_manifest(path)
    (path.parent / "backup").mkdir()
    problems = [finding.problem for finding in verify_stages(path.parent)]
    assert ["notes.md" in problems[0], "backup is no stage" in problems[1]] == [True, True]


def test_two_stages_that_change_places_are_refused(tmp_path):
    store = StageStore(tmp_path / "stages")
    first, second = (Path(store.materialize(chain([], seed=seed)).path) for seed in (0, 1))
    first.rename(tmp_path / "aside")
    second.rename(first)
    (tmp_path / "aside").rename(second)
    for seed, path in enumerate((first, second)):
        with pytest.raises(StoreError, match=rf"{path.name} is not what its name says: .*optimise"):
            StageStore(store.root).materialize(chain([], seed=seed))
        with pytest.raises(StoreError, match="not what its name says"):
            StageStore(store.root).plan(chain([], seed=seed))
    assert [finding.path for finding in verify_stages(store.root)] == sorted([first, second])


def test_a_file_is_read_once_and_again_when_it_may_have_changed(path, monkeypatch):
    read: list[str] = []
    sha256 = file_hashes.sha256
    monkeypatch.setattr(file_hashes, "sha256", lambda p: read.append(p.name) or sha256(p))
    monkeypatch.setattr(file_hashes, "SETTLED_NS", 0)
    read_manifest(path)
    assert sorted(read) == ["log", "text"]
    read_manifest(path)
    file_hashes._load.cache_clear()  # as a new process
    read_manifest(path)
    assert len(read) == 2
    os.utime(path / "text")
    read_manifest(path)
    assert read[2:] == ["text"]
    list(verify_stages(path.parent))
    assert len(read) == 5  # bits that rot leave no trace in a file's times


def test_what_was_written_a_moment_ago_is_not_remembered(path, monkeypatch):
    monkeypatch.setattr(file_hashes, "SETTLED_NS", 60_000_000_000)
    read_manifest(path)
    assert not (path.parent / file_hashes.CACHE_FILE).exists()


@pytest.mark.parametrize("content", ["", "{", "[]\n", '["a", 1]\n', "\x00\xff"])
def test_a_damaged_list_of_hashes_is_of_no_consequence(path, content, monkeypatch):
    monkeypatch.setattr(file_hashes, "SETTLED_NS", 0)
    (path.parent / file_hashes.CACHE_FILE).write_text(content)
    file_hashes._load.cache_clear()
    read_manifest(path)
    known = (path.parent / file_hashes.CACHE_FILE).read_text()
    (path.parent / file_hashes.CACHE_FILE).write_text(known.replace("a", "b"))
    file_hashes._load.cache_clear()
    read_manifest(path)  # a file that differs from what is remembered is read again


def test_removed_samples_are_not_needed_by_what_stands_on_them(tmp_path):
    calls: list[str] = []
    root = tmp_path / "stages"
    policy = StageStore(root).materialize(chain(calls))
    for name in ("generate", "pair"):
        shutil.rmtree(next(root.glob(f"{name}-*")))
    again = StageStore(root)
    assert again.materialize(chain(calls)) == type(policy)(policy.path, policy.digest)
    assert calls == list(STEPS)
    assert [(stage.name, bool(cached)) for stage, cached in again.plan(chain(calls))] == [
        ("optimise", True)
    ]
    next_stage = Stage("answer", 1, {}, {"policy": chain(calls)}, write)
    again.materialize(next_stage)
    assert calls == list(STEPS)


def test_a_removed_result_is_computed_again_where_its_files_are_needed(tmp_path):
    calls: list[str] = []
    root = tmp_path / "stages"
    StageStore(root).materialize(chain(calls))
    shutil.rmtree(next(root.glob("optimise-*")))
    shutil.rmtree(next(root.glob("generate-*")))
    plan = StageStore(root).plan(chain(calls))
    assert [(stage.name, bool(cached)) for stage, cached in plan] == [
        ("pair", True),
        ("optimise", False),
    ]
    StageStore(root).materialize(chain(calls))
    assert calls == [*STEPS, "optimise"]


def test_samples_that_come_out_otherwise_leave_what_stood_on_the_first_ones(tmp_path):
    root = tmp_path / "stages"
    draws = iter("xyz")

    def draw(out: Path, inputs, track) -> None:
        (out / "text").write_text(next(draws))

    samples = Stage("generate", 1, {}, {}, draw)
    used = Stage("pair", 1, {}, {"samples": samples}, write)
    before = StageStore(root).materialize(used)
    shutil.rmtree(next(root.glob("generate-*")))
    other = StageStore(root)
    other.materialize(Stage("look", 1, {}, {"samples": samples}, write))
    assert len(kept_manifests(root, next(root.glob("generate-*")).name)) == 2
    assert StageStore(root).materialize(used).path == before.path
    assert len(list(root.glob("pair-*"))) == 1


def test_a_kept_manifest_that_was_changed_is_reported_and_not_believed(tmp_path):
    calls: list[str] = []
    root = tmp_path / "stages"
    StageStore(root).materialize(chain(calls))
    samples = next(root.glob("generate-*"))
    (copy,) = (root / COPIES / samples.name).glob("*.json")
    shutil.rmtree(samples)
    copy.write_text(copy.read_text().replace("weights", "weighty"))
    assert [finding.path for finding in verify_stages(root)] == [copy]
    StageStore(root).materialize(chain(calls))
    assert calls.count("generate") == 2


def test_a_moved_store_names_its_inputs_where_it_is_now(tmp_path):
    root = tmp_path / "stages"
    path = Path(StageStore(root).materialize(chain([])).path)
    (record,) = json.loads((path / MANIFEST).read_text())["inputs"].values()
    assert record["path"].startswith("stages/pair-")
    moved = tmp_path / "elsewhere" / "stages"
    shutil.copytree(root, moved)
    (entry,) = load_manifest(moved / path.name)["inputs"].values()
    assert Path(entry["path"]).parent == moved
    shutil.rmtree(next(moved.glob("pair-*")))
    assert StageStore(moved).materialize(chain([])).path == str(moved / path.name)


def test_a_directory_that_was_emptied_is_as_one_that_was_removed(tmp_path):
    calls: list[str] = []
    root = tmp_path / "stages"
    StageStore(root).materialize(chain(calls))
    for path in next(root.glob("generate-*")).iterdir():
        path.unlink()
    assert StageStore(root).materialize(chain(calls)).created is False
    next(root.glob("pair-*/text")).unlink()
    assert StageStore(root).materialize(chain(calls)).created is False
    assert calls == list(STEPS)


def test_a_stage_of_the_layout_before_is_read_where_a_record_names_it(tmp_path):
    name = stage_name("optimise", 4, {"tau": 1 / 15}, {"policy": "a"}, layout=2)
    (tmp_path / name).mkdir()
    (tmp_path / name / "text").write_text("weights")
    files = {"text": {"sha256": sha256(tmp_path / name / "text"), "bytes": 7}}
    manifest = {
        **{"stage": "optimise", "version": 4, "config": {"tau": 1 / 15}, "files": files},
        "inputs": {"policy": {"path": f"/elsewhere/stages/{name}", "digest": "a"}},
        **{"digest": result_digest(files), "provenance": {}},
    }
    (tmp_path / name / MANIFEST).write_text(json.dumps(manifest))
    read = read_manifest(tmp_path / name)
    assert read["inputs"]["policy"]["path"] == str(tmp_path / name)
    (tmp_path / name / "text").write_text("weightz")
    with pytest.raises(StoreError, match="text has another content"):
        read_manifest(tmp_path / name)


def test_how_a_number_is_written_changes_no_name(tmp_path):
    def name(value: object) -> str:
        store = StageStore(tmp_path / "stages")
        return store._directory(Stage("a", 1, {"tau": [value]}, {}, write), {}).name

    for same in [(1 / 15, 0.0666666667), (0.005 / 3, 0.0016666667), (1, 1.0), (0.1 + 0.2, 0.3)]:
        assert len({name(value) for value in same}) == 1, same
    for other in [(0.1, 0.11), (5e-7, 5.00001e-7), (1, True), (1, "1"), (123456789, 123456788)]:
        assert len({name(value) for value in other}) == 2, other


def test_durations_do_not_depend_on_the_clock(tmp_path, monkeypatch):
    monkeypatch.setattr(time, "time", lambda: (_ for _ in ()).throw(AssertionError("the clock")))
    path = Path(StageStore(tmp_path / "stages").materialize(Stage("a", 1, {}, {}, write)).path)
    assert 0 <= load_manifest(path)["provenance"]["seconds"] < 10

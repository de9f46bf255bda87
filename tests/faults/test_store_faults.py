"""Figure 5: whatever happens to the file, no wrong verdict is served and all damage is detected."""

import json
import random
import shutil
from contextlib import closing, suppress

import pytest

from harness.errors import StoreError
from harness.judges.store import batches, integrity, maintenance, schema
from harness.judges.store.database import Attempt, Call, key_of, open_store

COUNT = 200


def body(i):
    text = f"question {i} " * (1 + i % 9 * 40)
    return {"model": "j", "messages": [{"role": "user", "content": text}]}


def reply(i):
    return json.dumps({"reply": f"{i} ü " * (1 + i % 7 * 100)})


@pytest.fixture(scope="module")
def intact(tmp_path_factory):
    path = tmp_path_factory.mktemp("intact") / "v.sqlite"
    with open_store(path) as store:
        for i in range(COUNT):
            call = Call(key_of(body(i)), "parsed", "j", 100, 1, False, 0.25, 1.5)
            store.add([Attempt(body(i), reply(i), "j", True)], [call])
        batches.create_batch(store, "j", {key_of(body(i)): body(i) for i in range(300, 310)})
    return path


def damaged(intact, path, data):
    path.write_bytes(data)
    shutil.copy(integrity.checksum_path(intact), integrity.checksum_path(path))
    return path


def content(path):
    """Return every row of every table."""
    with closing(maintenance._read_only(path)) as connection:
        return [
            connection.execute(f"SELECT rowid, * FROM {table}").fetchall()
            for table in schema.COLUMNS
        ]


def served(path):
    """Check that what a store serves is right; return how much that is, None where it refuses."""
    keys = {key_of(body(i)): reply(i) for i in range(COUNT)}
    try:
        with open_store(path) as store:
            replies = store.replies(keys)
    except StoreError:
        return None
    assert all(replies == [keys[key]] for key, replies in replies.items())
    return len(replies)


@pytest.mark.parametrize("flips", [20, pytest.param(1000, marks=pytest.mark.faults)])
@pytest.mark.timeout(1800)
def test_single_bytes_that_change(intact, tmp_path, figure, flips):
    data, rng, undetected, lost = intact.read_bytes(), random.Random(5), 0, []
    for i in range(flips):
        offset = rng.randrange(len(data))
        changed = data[:offset] + bytes([data[offset] ^ rng.randrange(1, 256)]) + data[offset + 1 :]
        path = damaged(intact, tmp_path / f"{i}.sqlite", changed)
        with suppress(StoreError):
            maintenance.summary(path)  # as `harness verdicts ls` does
        served(path)
        undetected += not maintenance.verify(path).faults
        result = maintenance.repair(path)
        count = result.copied["attempt"]
        assert served(path) == count
        assert maintenance.verify(path).faults == ()
        assert result.lost["attempt"] == COUNT - count
        lost.append(COUNT - count)
        for file in tmp_path.iterdir():
            file.unlink()
    figure(
        "flips undetected",
        f"{undetected} of {flips}; attempts lost by a repair: {sum(lost)}, at most {max(lost)}",
    )
    assert undetected == 0
    assert sorted(lost)[-1 - flips // 100] <= 12  # rows on one page, unless it was a table's root


@pytest.mark.parametrize("flips", [30, pytest.param(1000, marks=pytest.mark.faults)])
@pytest.mark.timeout(1800)
def test_single_bytes_that_change_without_the_checksum_of_the_file(intact, tmp_path, figure, flips):
    """What row checksums and SQLite's own check miss is no content: every row is as it was."""
    data, rng, undetected, rows = intact.read_bytes(), random.Random(6), 0, content(intact)
    path = tmp_path / "v.sqlite"
    for _ in range(flips):
        offset = rng.randrange(len(data))
        path.write_bytes(
            data[:offset] + bytes([data[offset] ^ rng.randrange(1, 256)]) + data[offset + 1 :]
        )
        faults = [fault for fault in maintenance.verify(path).faults if "log is gone" not in fault]
        if not faults:
            undetected += 1
            assert content(path) == rows, offset
    figure("flips outside of all content", f"{undetected} of {flips}")


@pytest.mark.parametrize("cuts", [8, pytest.param(200, marks=pytest.mark.faults)])
@pytest.mark.timeout(1800)
def test_files_that_are_cut(intact, tmp_path, figure, cuts):
    data, rng, kepts = intact.read_bytes(), random.Random(6), []
    for i in range(cuts):
        at = rng.randrange(1, len(data))
        path = damaged(intact, tmp_path / f"{i}.sqlite", data[:at])
        assert maintenance.verify(path).faults
        served(path)
        path = damaged(intact, tmp_path / f"{i}.sqlite", data[:at])
        count = maintenance.repair(path).copied["attempt"]
        assert served(path) == count
        kepts.append((at / len(data), count))
    figure(
        "kept of a file that is cut at its half", [k for share, k in kepts if 0.45 < share < 0.55]
    )


def test_two_rows_that_change_places(intact, tmp_path):
    path = tmp_path / "v.sqlite"
    shutil.copy(intact, path)
    with open_store(path) as store:
        ask = store.connection.execute
        ask("UPDATE attempt SET attempt = -1 WHERE key = ?", (key_of(body(1)),))
        ask("UPDATE attempt SET key = ? WHERE key = ?", (key_of(body(1)), key_of(body(2))))
        ask("UPDATE attempt SET key = ?, attempt = 1 WHERE attempt = -1", (key_of(body(2)),))
    assert len(maintenance.verify(path).faults) == 2
    assert served(path) is None
    assert maintenance.repair(path).copied["attempt"] == COUNT - 2

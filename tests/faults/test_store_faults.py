"""Figure 5: whatever happens to the file, no wrong verdict is served and all damage is found."""

import json
import random
import shutil

import pytest

from harness.errors import StoreError
from harness.judges.store import integrity, maintenance
from harness.judges.store.database import Attempt, Call, key_of, open_store

COUNT = 200


def body(i):
    text = f"question {i} " * (1 + i % 9 * 40)
    return {"model": "j", "messages": [{"role": "user", "content": text}]}


def reply(i):
    return json.dumps({"reply": f"{i} ü " * (1 + i % 7 * 100)})


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "v.sqlite"
    with open_store(path) as store:
        for i in range(COUNT):
            call = Call(key_of(body(i)), "read", "j", 100, 1, False, 0.25, 1.5)
            store.add([Attempt(body(i), reply(i), "j", True)], [call])
    return path


def spoilt(whole, path, data):
    path.write_bytes(data)
    shutil.copy(integrity.seal_of(whole), integrity.seal_of(path))
    return path


def served(path):
    """Check that what a store serves is right; return how much that is, None where it refuses."""
    keys = {key_of(body(i)): reply(i) for i in range(COUNT)}
    try:
        with open_store(path) as store:
            found = store.replies(keys)
    except StoreError:
        return None
    assert all(replies == [keys[key]] for key, replies in found.items())
    return len(found)


@pytest.mark.parametrize("flips", [20, pytest.param(1000, marks=pytest.mark.faults)])
@pytest.mark.timeout(1800)
def test_single_bytes_that_change(whole, tmp_path, figure, flips):
    data, rng, unseen, lost = whole.read_bytes(), random.Random(5), 0, []
    for i in range(flips):
        at = rng.randrange(len(data))
        changed = data[:at] + bytes([data[at] ^ rng.randrange(1, 256)]) + data[at + 1 :]
        path = spoilt(whole, tmp_path / f"{i}.sqlite", changed)
        unseen += not maintenance.verify(path).faults
        served(path)
        path = spoilt(whole, tmp_path / f"{i}.sqlite", changed)
        kept, aside = maintenance.repair(path)
        assert served(path) == kept
        assert maintenance.verify(path).faults == ()
        lost.append(COUNT - kept)
        for file in tmp_path.iterdir():
            file.unlink()
    figure("flips unseen", f"{unseen} of {flips}; attempts lost by a repair, at most {max(lost)}")
    assert unseen == 0
    assert max(lost) <= 12  # those on one page


@pytest.mark.parametrize("cuts", [8, pytest.param(200, marks=pytest.mark.faults)])
@pytest.mark.timeout(1800)
def test_files_that_are_cut(whole, tmp_path, figure, cuts):
    data, rng, kepts = whole.read_bytes(), random.Random(6), []
    for i in range(cuts):
        at = rng.randrange(1, len(data))
        path = spoilt(whole, tmp_path / f"{i}.sqlite", data[:at])
        assert maintenance.verify(path).faults
        served(path)
        path = spoilt(whole, tmp_path / f"{i}.sqlite", data[:at])
        kept, _ = maintenance.repair(path)
        assert served(path) == kept
        kepts.append((at / len(data), kept))
    figure(
        "kept of a file that is cut at its half", [k for share, k in kepts if 0.45 < share < 0.55]
    )


def test_two_rows_that_change_places(whole, tmp_path):
    path = tmp_path / "v.sqlite"
    shutil.copy(whole, path)
    with open_store(path) as store:
        ask = store.connection.execute
        ask("UPDATE attempt SET attempt = -1 WHERE key = ?", (key_of(body(1)),))
        ask("UPDATE attempt SET key = ? WHERE key = ?", (key_of(body(1)), key_of(body(2))))
        ask("UPDATE attempt SET key = ?, attempt = 1 WHERE attempt = -1", (key_of(body(2)),))
    assert len(maintenance.verify(path).faults) == 2
    assert served(path) is None
    assert maintenance.repair(path)[0] == COUNT - 2

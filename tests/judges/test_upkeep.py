"""The store's upkeep: damage is found and told, and a repair keeps the rest."""

import gzip
import hashlib
import json
import random
import sqlite3
from contextlib import suppress
from pathlib import Path

import pytest

from harness.errors import InputError, StoreError
from harness.judges.store import integrity, maintenance, schema
from harness.judges.store.database import Attempt, Call, key_of, open_store

COUNT = 60


def body(i):
    text = f"question {i} " * (1 + i % 9 * 40)
    return {"model": "j", "messages": [{"role": "user", "content": text}]}


def reply(i):
    return json.dumps({"reply": f"{i} ü " * (1 + i % 7 * 300)})


@pytest.fixture
def path(tmp_path):
    """A store that was closed: rows within a page, and rows that go over several."""
    path = tmp_path / "v.sqlite"
    with open_store(path) as store:
        for i in range(COUNT):
            call = Call(key_of(body(i)), "read", "j", 100, 1, False, 0.25, 1.5)
            store.add([Attempt(body(i), reply(i), "j", True)], [call])
    return path


def served(path):
    """Return what a store serves, by number; a damaged one may refuse."""
    keys = {key_of(body(i)): i for i in range(COUNT)}
    with open_store(path) as store:
        found = store.replies(keys)
    return {keys[key]: replies for key, replies in found.items()}


def test_a_whole_store_is_found_whole_and_left_alone(path):
    before = path.read_bytes()
    assert maintenance.verify(path) == maintenance.StoreHealth(COUNT, ())
    assert path.read_bytes() == before


def test_a_summary_tells_verdicts_and_money(path):
    found = maintenance.summary(path)
    row = found["verdicts"][0]
    told = {"judge": "j", "served": "j", "status": "read", "attempts": COUNT}
    assert row | told == row
    # 60 calls of a quarter of a dollar
    assert found["calls"][0] | {"dollars": 15.0} == found["calls"][0]


def test_every_changed_byte_is_found_and_nothing_wrong_is_served(path):
    whole, rng = path.read_bytes(), random.Random(1)
    mark = integrity.seal_of(path).read_bytes()
    for _ in range(60):
        at, bit = rng.randrange(len(whole)), 1 << rng.randrange(8)
        path.write_bytes(whole[:at] + bytes([whole[at] ^ bit]) + whole[at + 1 :])
        integrity.seal_of(path).write_bytes(mark)
        assert maintenance.verify(path).faults, at
        try:
            found = served(path)
        except StoreError:
            continue
        assert all(replies == [reply(i)] for i, replies in found.items())


def test_a_layout_whose_names_are_no_text_is_damage_like_any_other(path):
    whole = path.read_bytes()
    names = whole.index(b"tableattemptattempt")
    for at in range(names, names + 30):
        path.write_bytes(whole[:at] + b"\xdf" + whole[at + 1 :])
        integrity.seal_of(path).unlink(missing_ok=True)
        assert maintenance.verify(path).faults, at
        with suppress(StoreError):
            assert all(replies == [reply(i)] for i, replies in served(path).items())
        path.write_bytes(whole[:at] + b"\xdf" + whole[at + 1 :])
        assert maintenance.repair(path)[0] == COUNT, at
    assert maintenance.verify(path).faults == ()


@pytest.mark.parametrize("at", [0, 17, 105, 5000, 50_000, -300, -5000])
def test_a_repair_keeps_the_rest(path, at):
    data = bytearray(path.read_bytes())
    data[at] ^= 0xFF
    path.write_bytes(data)
    kept, aside = maintenance.repair(path)
    assert aside.read_bytes() == data
    assert kept >= COUNT - 8  # a page that is lost takes the rows on it
    assert maintenance.verify(path) == maintenance.StoreHealth(kept, ())
    found = served(path)
    assert len(found) == kept
    assert all(replies == [reply(i)] for i, replies in found.items())


def test_a_cut_file_is_found_and_what_is_left_is_kept(path):
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2 + 100])
    assert maintenance.verify(path).faults
    kept, _ = maintenance.repair(path)
    assert COUNT // 4 < kept < COUNT
    assert maintenance.verify(path) == maintenance.StoreHealth(kept, ())


def test_a_log_that_was_taken_away_is_told(path):
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    with open_store(path) as store:
        store.add([Attempt(body(99), "lost", "j", True)])
        copy = path.with_name("copy.sqlite")
        copy.write_bytes(path.read_bytes())  # as a kill leaves it, without its log
    connection.close()
    assert "log is gone" in maintenance.verify(copy).faults[0]
    assert len(served(copy)) == COUNT


def test_calls_survive_a_repair(path):
    maintenance.repair(path)
    with open_store(path) as store:
        assert len(list(store.calls(key_of(body(i)) for i in range(COUNT)))) == COUNT


def test_a_store_in_use_is_not_repaired(path):
    with open_store(path), pytest.raises(StoreError, match="in use"):
        maintenance.repair(path)


def test_a_store_in_use_is_not_sealed_until_the_last_has_closed_it(path):
    with open_store(path):
        with open_store(path):
            pass
        assert not integrity.seal_of(path).exists()
    assert integrity.seal_fault(path) is None
    assert integrity.seal_of(path).exists()


@pytest.mark.parametrize("name", ["out.jsonl", "out.jsonl.gz"])
def test_verdicts_go_out_and_come_in(path, tmp_path, name):
    assert maintenance.export(path, tmp_path / name) == COUNT
    other = tmp_path / "other.sqlite"
    assert maintenance.import_verdicts(other, tmp_path / name) == (COUNT, COUNT)
    assert maintenance.import_verdicts(other, tmp_path / name) == (0, COUNT)
    assert served(other) == served(path)
    assert maintenance.verify(other) == maintenance.StoreHealth(COUNT, ())


def test_a_line_that_was_changed_brings_nothing(path, tmp_path):
    maintenance.export(path, tmp_path / "out.jsonl.gz")
    with gzip.open(tmp_path / "out.jsonl.gz", "rt") as file:
        lines = file.read().replace("question 12", "question 21")
    (tmp_path / "out.jsonl").write_text(lines)
    with pytest.raises(InputError, match="line 13 is no whole verdict"):
        maintenance.import_verdicts(tmp_path / "other.sqlite", tmp_path / "out.jsonl")
    with open_store(tmp_path / "other.sqlite") as store:
        assert store.connection.execute("SELECT count(*) FROM attempt").fetchone() == (0,)


def test_where_there_is_no_store_it_is_told(tmp_path):
    with pytest.raises(StoreError, match="--workspace"):
        maintenance.verify(tmp_path / "none.sqlite")


VERSION_1 = """
CREATE TABLE attempt (key TEXT NOT NULL, attempt INTEGER NOT NULL, time TEXT NOT NULL,
  request TEXT NOT NULL, reply TEXT NOT NULL, sha256 TEXT NOT NULL, model TEXT NOT NULL,
  status TEXT NOT NULL CHECK (status IN ('read', 'unread')), PRIMARY KEY (key, attempt)) STRICT
"""


def test_a_store_of_version_1_is_read_and_no_row_is_lost(tmp_path):
    path = tmp_path / "old.sqlite"
    connection = sqlite3.connect(path)
    connection.execute(VERSION_1)
    for i in range(3):
        key, text = key_of(body(i)), reply(i)
        told = hashlib.sha256(f"{key}\n{text}".encode()).hexdigest()
        sealed = told if i < 2 else "damaged long ago"
        row = (key, 1, "2026-11-01T00:00:00Z", json.dumps(body(i)), text, sealed, "j", "read")
        connection.execute("INSERT INTO attempt VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
    connection.execute("PRAGMA user_version = 1")
    connection.commit()
    connection.close()
    with open_store(path) as store:
        assert store.replies([key_of(body(0)), key_of(body(1))]) == {
            key_of(body(i)): [reply(i)] for i in range(2)
        }
        with pytest.raises(StoreError, match="damaged"):
            store.replies([key_of(body(2))])
        assert store.connection.execute("PRAGMA user_version").fetchone() == (schema.VERSION,)


def test_a_store_of_version_2_is_brought_up_to_date(tmp_path):
    path = tmp_path / "old.sqlite"
    with open_store(path) as store:
        store.add([Attempt(body(i), reply(i), "j", parsable=True) for i in range(3)])
        # version 2 knew of no refusals
        ask = store.connection.execute
        (told,) = ask("SELECT sql FROM sqlite_master WHERE name = 'attempt'").fetchone()
        ask("ALTER TABLE attempt RENAME TO later")
        ask(told.replace(", 'refused'", ""))
        ask("INSERT INTO attempt SELECT * FROM later")
        ask("DROP TABLE later")
        ask("PRAGMA user_version = 2")
    assert "layout is 2" in maintenance.verify(path).faults[0]
    with open_store(path) as store:
        store.add([Attempt(body(3), "400: too long", "", parsable=False, refused=True)])
        keys = [key_of(body(i)) for i in range(4)]
        assert store.replies(keys) == {keys[i]: [reply(i)] for i in range(3)}
        assert store.refusals(keys) == {keys[3]: "400: too long"}
    assert maintenance.verify(path) == maintenance.StoreHealth(4, ())


MOUNTS = """
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 27 0:30 / /scratch rw shared:1 - lustre fs@tcp:/x rw
31 27 0:31 / /home rw - nfs4 server:/home rw
32 31 0:32 / /home/local\\040disk rw - xfs /dev/vdb rw
33 27 0:33 / /mnt rw - fuse.sshfs host:/ rw
"""


@pytest.mark.parametrize(
    ("where", "kind", "shared"),
    [
        ("/data/v.sqlite", "ext4", False),
        ("/scratch/me/v.sqlite", "lustre", True),
        ("/home/me/v.sqlite", "nfs4", True),
        ("/home/local disk/v.sqlite", "xfs", False),
        ("/mnt/v.sqlite", "fuse.sshfs", True),
    ],
)
def test_the_file_system_is_known(where, kind, shared):
    assert schema.file_system_type(Path(where), MOUNTS) == kind
    assert schema.is_shared(Path(where), MOUNTS) == shared


def test_a_shared_file_system_has_no_write_ahead_log(tmp_path, monkeypatch):
    monkeypatch.setattr(schema, "is_shared", lambda path: True)
    with open_store(tmp_path / "v.sqlite") as store:
        assert store.connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
        store.add([Attempt(body(1), "x", "j", True)])
    assert maintenance.verify(tmp_path / "v.sqlite") == maintenance.StoreHealth(1, ())

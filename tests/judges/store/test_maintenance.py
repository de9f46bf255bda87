"""Maintenance of the store: damage is detected and reported, and a repair keeps the rest."""

import gzip
import hashlib
import json
import random
import sqlite3
from contextlib import suppress
from pathlib import Path

import pytest

from harness.errors import InputError, StoreError
from harness.judges.store import batches, integrity, maintenance, schema
from harness.judges.store.batches import JudgeBatch
from harness.judges.store.database import Attempt, Call, key_of, open_store
from harness.judges.store.leases import Owner, new_owner
from harness.judges.store.maintenance import StoreImport

COUNT = 60


def body(i):
    text = f"question {i} " * (1 + i % 9 * 40)
    return {"model": "j", "messages": [{"role": "user", "content": text}]}


def reply(i):
    message = {"content": f"{i} ü " * (1 + i % 7 * 300)}
    return json.dumps({"choices": [{"message": message}]})


@pytest.fixture
def path(tmp_path):
    """A store that was closed: rows within a page, and rows that go over several."""
    path = tmp_path / "v.sqlite"
    with open_store(path) as store:
        for i in range(COUNT):
            call = Call(key_of(body(i)), "parsed", "j", 100, 1, False, 0.25, 1.5)
            store.add([Attempt(body(i), reply(i), "j", True)], [call])
    return path


def served(path):
    """Return what a store serves, by number; a damaged one may refuse."""
    keys = {key_of(body(i)): i for i in range(COUNT)}
    with open_store(path) as store:
        contents = store.replies(keys)
    return {keys[key]: replies for key, replies in contents.items()}


def test_an_intact_store_passes_and_is_left_alone(path):
    before = path.read_bytes()
    assert maintenance.verify(path) == maintenance.StoreHealth(COUNT, ())
    assert path.read_bytes() == before


def test_a_summary_tells_verdicts_and_money(path):
    contents = maintenance.summary(path)
    row = contents["verdicts"][0]
    expected = {"judge": "j", "served": "j", "status": "parsed", "attempts": COUNT}
    assert row | expected == row
    # 60 calls of a quarter of a dollar
    assert contents["calls"][0] | {"dollars": 15.0} == contents["calls"][0]


def test_every_changed_byte_is_detected_and_nothing_wrong_is_served(path):
    data, rng = path.read_bytes(), random.Random(1)
    for _ in range(60):
        offset, bit = rng.randrange(len(data)), 1 << rng.randrange(8)
        path.write_bytes(data[:offset] + bytes([data[offset] ^ bit]) + data[offset + 1 :])
        with suppress(StoreError):
            maintenance.summary(path)  # a command that reads does not renew the checksum
        with suppress(StoreError):
            assert all(replies == [reply(i)] for i, replies in served(path).items())
        assert maintenance.verify(path).faults, offset


def test_changed_content_is_detected_without_the_checksum_of_the_file(path):
    # each is a byte of a row: of an attempt, a call's count, a claim, an owner, a batch, a line
    with open_store(path) as store:
        store.claim({key_of(body(0)): 1}, Owner("the-owner", "the-host", 1, "the-start"))
        batches.create_batch(store, "the-judge", {"the-key": {"model": "the-model"}})
    data = path.read_bytes()
    texts = [b"question 7 ", b"parsed", b"2026-", b"the-owner", b"the-host", b"the-judge"]
    for text in [*texts, b"the-key", b"the-model", b"planned", b"pending"]:
        offset = data.rindex(text) + len(text) - 2
        path.write_bytes(data[:offset] + bytes([data[offset] ^ 1]) + data[offset + 1 :])
        integrity.checksum_path(path).unlink(missing_ok=True)
        faults = [fault for fault in maintenance.verify(path).faults if "log is gone" not in fault]
        assert faults, text


def test_a_layout_whose_names_are_no_text_is_damage_like_any_other(path):
    data, checksum = path.read_bytes(), integrity.checksum_path(path).read_bytes()
    names = data.index(b"tableattemptattempt")
    for offset in range(names, names + 30, 2):
        path.write_bytes(data[:offset] + b"\xdf" + data[offset + 1 :])
        integrity.checksum_path(path).write_bytes(checksum)
        assert maintenance.verify(path).faults, offset
        with suppress(StoreError):
            assert all(replies == [reply(i)] for i, replies in served(path).items())
        result = maintenance.repair(path)
        assert (result.copied["attempt"], set(result.lost.values())) == (COUNT, {0}), offset
    assert maintenance.verify(path).faults == ()


@pytest.mark.parametrize("at", [0, 17, 105, 5000, 50_000, -300, -5000])
def test_a_repair_keeps_the_rest(path, at):
    data = bytearray(path.read_bytes())
    data[at] ^= 0xFF
    path.write_bytes(data)
    result = maintenance.repair(path)
    assert result.backup.read_bytes() == data
    count = result.copied["attempt"]
    assert count >= COUNT - 8  # a page that is lost takes the rows on it
    assert result.lost["attempt"] == COUNT - count
    assert maintenance.verify(path) == maintenance.StoreHealth(count, ())
    contents = served(path)
    assert len(contents) == count
    assert all(replies == [reply(i)] for i, replies in contents.items())


def test_a_cut_file_is_detected_and_what_is_left_is_kept(path):
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2 + 100])
    assert maintenance.verify(path).faults
    count = maintenance.repair(path).copied["attempt"]
    assert COUNT // 4 < count < COUNT
    assert maintenance.verify(path) == maintenance.StoreHealth(count, ())


def test_a_log_that_was_taken_away_is_reported(path):
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


def test_a_changed_store_has_no_checksum_until_the_last_process_has_closed_it(path):
    with open_store(path) as store:
        store.add([Attempt(body(99), "more", "j", True)])
        with open_store(path):
            pass
        assert not integrity.checksum_path(path).exists()
    assert integrity.file_checksum(path) is not None
    assert integrity.file_fault(path) is None


def test_a_store_that_is_only_read_keeps_its_checksum(path):
    before = integrity.checksum_path(path).stat()
    maintenance.summary(path)
    served(path)
    assert integrity.checksum_path(path).stat() == before


def test_a_damaged_checksum_is_a_fault(path):
    file = integrity.checksum_path(path)
    file.write_text(file.read_text().replace('"first_page": "U', '"first_page": "V'))
    assert "cannot be read" in maintenance.verify(path).faults[0]
    assert maintenance.repair(path).copied["attempt"] == COUNT


@pytest.mark.parametrize("name", ["out.jsonl", "out.jsonl.gz"])
def test_verdicts_go_out_and_come_in(path, tmp_path, name):
    assert maintenance.export(path, tmp_path / name) == COUNT
    other = tmp_path / "other.sqlite"
    assert maintenance.import_verdicts(other, tmp_path / name) == StoreImport(COUNT, 0, 0)
    assert maintenance.import_verdicts(other, tmp_path / name) == StoreImport(0, COUNT, 0)
    assert served(other) == served(path)
    assert maintenance.verify(other) == maintenance.StoreHealth(COUNT, ())


@pytest.mark.parametrize(
    "text",
    ["", "<html>502</html>", "{}", '{"choices": []}', '{"choices": [[]]}', "null", "[" * 9999],
)
def test_a_reply_that_cannot_be_read_gets_into_no_store(tmp_path, text):
    path, other = tmp_path / "v.sqlite", tmp_path / "other.sqlite"
    with open_store(path) as store:
        store.add([Attempt(body(0), reply(0), "j", True), Attempt(body(1), text, "j", True)])
        store.add([Attempt(body(2), "too long", "", parsable=False, refused=True)])
        store.add([Attempt({"model": "j", "messages": "?"}, reply(0), "j", True)])
    maintenance.export(path, tmp_path / "out.jsonl")
    assert maintenance.import_verdicts(other, tmp_path / "out.jsonl") == StoreImport(2, 0, 2)
    assert maintenance.verify(other) == maintenance.StoreHealth(2, ())


def test_a_line_that_was_changed_brings_nothing(path, tmp_path):
    maintenance.export(path, tmp_path / "out.jsonl.gz")
    with gzip.open(tmp_path / "out.jsonl.gz", "rt") as file:
        lines = file.read().replace("question 12", "question 21")
    (tmp_path / "out.jsonl").write_text(lines)
    with pytest.raises(InputError, match="line 13 is no intact verdict"):
        maintenance.import_verdicts(tmp_path / "other.sqlite", tmp_path / "out.jsonl")
    with open_store(tmp_path / "other.sqlite") as store:
        assert store.connection.execute("SELECT count(*) FROM attempt").fetchone() == (0,)


def test_a_missing_store_is_reported(tmp_path):
    with pytest.raises(StoreError, match="--workspace"):
        maintenance.verify(tmp_path / "none.sqlite")


VERSION_1 = """
CREATE TABLE attempt (key TEXT NOT NULL, attempt INTEGER NOT NULL, time TEXT NOT NULL,
  request TEXT NOT NULL, reply TEXT NOT NULL, sha256 TEXT NOT NULL, model TEXT NOT NULL,
  status TEXT NOT NULL, PRIMARY KEY (key, attempt)) STRICT
"""


def test_a_store_of_version_1_is_read_and_no_row_is_lost(tmp_path):
    path = tmp_path / "old.sqlite"
    connection = sqlite3.connect(path)
    connection.execute(VERSION_1)
    for i in range(3):
        key, text = key_of(body(i)), reply(i)
        expected = hashlib.sha256(f"{key}\n{text}".encode()).hexdigest()
        sealed = expected if i < 2 else "damaged long ago"
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


STATUSES = (*(prefix + "read" for prefix in ("", "un")), "quarantined", "refused")
VERSION_3 = f"""
CREATE TABLE attempt (key TEXT NOT NULL, attempt INTEGER NOT NULL, time TEXT NOT NULL,
  request TEXT NOT NULL, reply TEXT NOT NULL, sha256 TEXT NOT NULL, model TEXT NOT NULL,
  status TEXT NOT NULL CHECK (status IN {STATUSES!r}),
  PRIMARY KEY (key, attempt)) STRICT;
CREATE TABLE call (key TEXT NOT NULL, time TEXT NOT NULL, outcome TEXT NOT NULL,
  model TEXT NOT NULL, prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL,
  estimated INTEGER NOT NULL, dollars REAL, seconds REAL) STRICT;
CREATE INDEX call_key ON call (key);
CREATE TABLE owner (id TEXT PRIMARY KEY, place TEXT NOT NULL, pid INTEGER NOT NULL,
  started TEXT NOT NULL, beat REAL NOT NULL) STRICT;
CREATE TABLE claim (key TEXT PRIMARY KEY, owner TEXT NOT NULL) STRICT;
CREATE TABLE batch (name TEXT PRIMARY KEY, judge TEXT NOT NULL, file TEXT, batch TEXT,
  state TEXT NOT NULL, time TEXT NOT NULL) STRICT;
CREATE TABLE line (batch TEXT NOT NULL, key TEXT NOT NULL, request TEXT NOT NULL,
  state TEXT NOT NULL, told TEXT NOT NULL DEFAULT '', PRIMARY KEY (batch, key)) STRICT;
"""


def old_store(path, version, statuses=STATUSES):
    """Create a store of version 2 or 3: an attempt a status, their calls, and a batch."""
    connection = sqlite3.connect(path)
    connection.executescript(VERSION_3 if version == 3 else VERSION_3.replace(", 'refused'", ""))
    moment = "2026-11-01T00:00:00Z"
    for i, status in enumerate(statuses):
        columns = (key_of(body(i)), 1, moment, json.dumps(body(i)), reply(i), "j", status)
        text = json.dumps(list(columns), sort_keys=True, separators=(",", ":"))
        sha256 = hashlib.sha256(text.encode()).hexdigest()
        row = (*columns[:5], sha256, *columns[5:])
        connection.execute("INSERT INTO attempt VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
        call = (columns[0], moment, status, "j", 100, 1, 0, 0.25, None)
        connection.execute("INSERT INTO call VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", call)
    connection.execute("INSERT INTO owner VALUES ('batch-1', '', 0, '', 0)")
    connection.execute("INSERT INTO claim VALUES ('b', 'batch-1')")
    connection.execute("INSERT INTO batch VALUES ('batch-1', 'j', 'file-1', NULL, 'meant', 't')")
    for key, state, reason in (("a", "kept", ""), ("b", "asked", ""), ("c", "failed", "why")):
        line = ("batch-1", key, '{"n":1}', state, reason)
        connection.execute("INSERT INTO line VALUES (?, ?, ?, ?, ?)", line)
    connection.execute(f"PRAGMA user_version = {version}")
    connection.commit()
    connection.close()


def test_a_store_of_version_3_is_migrated_and_no_row_is_lost(tmp_path):
    path = tmp_path / "old.sqlite"
    old_store(path, 3)
    assert "schema is 3" in maintenance.verify(path).faults[-1]
    with open_store(path) as store:
        execute = store.connection.execute
        statuses = [row[0] for row in execute("SELECT status FROM attempt ORDER BY rowid")]
        assert statuses == ["parsed", "unparsed", "quarantined", "refused"]
        keys = [key_of(body(i)) for i in range(4)]
        assert store.replies(keys) == {keys[i]: [reply(i)] for i in range(2)}
        assert store.refusals(keys) == {keys[3]: reply(3)}
        assert next(store.calls(keys)) == ("parsed", 100, 1, 0, 0.25, None)
        assert batches.unfetched_batches(store, "j") == [JudgeBatch("batch-1", "file-1", None)]
        lines = list(store.rows("line", "batch", ["batch-1"]))
        assert [line[3:] for line in lines] == [("stored", ""), ("pending", ""), ("failed", "why")]
        assert store.claim({"b": 0}, new_owner()).batched == {"b"}
    assert maintenance.verify(path) == maintenance.StoreHealth(4, ())


def test_a_store_of_version_2_is_brought_up_to_date(tmp_path):
    path = tmp_path / "old.sqlite"
    old_store(path, 2, STATUSES[:3])
    with open_store(path) as store:
        store.add([Attempt(body(3), "400: too long", "", parsable=False, refused=True)])
        keys = [key_of(body(i)) for i in range(4)]
        assert store.replies(keys) == {keys[i]: [reply(i)] for i in range(2)}
        assert store.refusals(keys) == {keys[3]: "400: too long"}
    assert maintenance.verify(path) == maintenance.StoreHealth(4, ())


def test_an_export_of_version_3_is_imported(tmp_path):
    source = tmp_path / "old.jsonl"
    columns = [
        key_of(body(0)),
        1,
        "2026-11-01T00:00:00Z",
        json.dumps(body(0)),
        reply(0),
        "j",
        "read",
    ]
    text = json.dumps(columns, sort_keys=True, separators=(",", ":"))
    names = ("key", "attempt", "time", "request", "reply", "model", "status")
    line = dict(zip(names, columns, strict=True))
    line["sha256"] = hashlib.sha256(text.encode()).hexdigest()
    source.write_text(json.dumps(line) + "\n")
    assert maintenance.import_verdicts(tmp_path / "v.sqlite", source) == StoreImport(1, 0, 0)
    assert maintenance.verify(tmp_path / "v.sqlite") == maintenance.StoreHealth(1, ())


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


FOREIGN = {
    "a trigger": "CREATE TRIGGER t AFTER INSERT ON attempt BEGIN DELETE FROM attempt; END",
    "a trigger on another table": "CREATE TRIGGER t AFTER DELETE ON claim BEGIN SELECT 1; END",
    "a view": "CREATE VIEW v AS SELECT * FROM attempt",
    "a table": "CREATE TABLE more (x)",
    "an index": "CREATE UNIQUE INDEX once ON attempt (reply)",
}


@pytest.mark.parametrize("statement", FOREIGN.values(), ids=FOREIGN)
def test_a_store_that_holds_what_no_version_creates_is_refused_and_repaired(path, statement):
    with sqlite3.connect(path) as connection:
        connection.execute(statement)
    connection.close()
    with pytest.raises(StoreError, match="did not create"), open_store(path):
        pass
    assert any("did not create" in fault for fault in maintenance.verify(path).faults)
    assert maintenance.repair(path).copied["attempt"] == COUNT
    assert maintenance.verify(path) == maintenance.StoreHealth(COUNT, ())
    assert served(path) == {i: [reply(i)] for i in range(COUNT)}


def test_a_table_that_is_defined_in_another_way_is_refused(path):
    with sqlite3.connect(path) as connection:
        connection.execute("ALTER TABLE claim ADD COLUMN more TEXT")
    connection.close()
    with pytest.raises(StoreError, match=r"did not create \(the table claim\)"), open_store(path):
        pass


def test_a_file_of_something_else_is_left_alone(tmp_path):
    path = tmp_path / "notes.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE notes (text)")
    connection.close()
    with pytest.raises(StoreError, match="the table notes"), open_store(path):
        pass
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("notes",)]
    connection.close()


def test_a_store_of_a_later_version_is_left_as_it_is(path):
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 9")
        connection.execute("CREATE TABLE later (x)")
    connection.close()
    before = path.read_bytes()
    for use in (maintenance.verify, maintenance.repair, maintenance.summary):
        with pytest.raises(StoreError, match="later version of the harness"):
            use(path)
    assert path.read_bytes() == before


def test_a_later_version_in_the_log_is_left_as_it_is(path, tmp_path):
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 9")
    copy = tmp_path / "copy" / path.name
    copy.parent.mkdir()
    for name in (path.name, f"{path.name}-wal"):  # as after a kill
        (copy.parent / name).write_bytes((path.parent / name).read_bytes())
    connection.close()
    for look in (maintenance.verify, maintenance.summary, maintenance.repair):
        with pytest.raises(StoreError, match="later version"):
            look(copy)
    assert sqlite3.connect(copy).execute("PRAGMA user_version").fetchone() == (9,)


def test_a_damaged_version_is_no_later_version(path):
    data = bytearray(path.read_bytes())
    data[60] ^= 1  # of the version, whose last byte is 63
    path.write_bytes(data)
    assert maintenance.verify(path).faults
    assert maintenance.repair(path).copied["attempt"] == COUNT

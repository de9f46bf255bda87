"""The verdict store: what was added is there, whatever happens to the process or to the file."""

import signal
import sqlite3
import subprocess
import sys

import pytest

from harness.errors import StoreError
from harness.judges.store import database
from harness.judges.store.database import Attempt, key_of, open_store

BODY = {"model": "j", "messages": [{"role": "user", "content": "ä"}], "temperature": 0}


def test_a_reply_comes_back_as_it_was_added(tmp_path):
    with open_store(tmp_path / "deep" / "v.sqlite") as verdicts:
        verdicts.add([Attempt(BODY, '{"a": "ü\\u0000"}', "j-1", True)])
        assert verdicts.replies([key_of(BODY), "other"]) == {key_of(BODY): ['{"a": "ü\\u0000"}']}


def test_every_parameter_makes_another_key():
    keys = {
        key_of(BODY),
        key_of({**BODY, "temperature": 1}),
        key_of({**BODY, "model": "k"}),
        key_of({**BODY, "seed": None}),
        key_of({**BODY, "messages": [{"role": "system", "content": "ä"}]}),
    }
    assert len(keys) == 5
    assert key_of(dict(reversed(BODY.items()))) == key_of(BODY)


def test_attempts_are_added_and_never_overwritten(tmp_path):
    path = tmp_path / "v.sqlite"
    for text in ("one", "two"):
        with open_store(path) as verdicts:
            verdicts.add([Attempt(BODY, text, "j", text == "two")])
    with open_store(path) as verdicts:
        assert verdicts.replies([key_of(BODY)])[key_of(BODY)] == ["one", "two"]
        rows = verdicts.connection.execute("SELECT attempt, status, model FROM attempt").fetchall()
    assert rows == [(1, "unparsed", "j"), (2, "parsed", "j")]


def test_the_journal_and_the_flushing_are_the_safe_ones(tmp_path):
    with open_store(tmp_path / "v.sqlite") as verdicts:
        ask = verdicts.connection.execute
        assert ask("PRAGMA journal_mode").fetchone() == ("wal",)
        assert ask("PRAGMA synchronous").fetchone() == (2,)  # FULL


def test_many_keys_are_looked_up_at_once(tmp_path):
    bodies = [{**BODY, "seed": i} for i in range(603)]
    with open_store(tmp_path / "v.sqlite") as verdicts:
        verdicts.add(Attempt(body, str(i), "j", True) for i, body in enumerate(bodies))
        replies = verdicts.replies(map(key_of, bodies))
    assert replies == {key_of(body): [str(i)] for i, body in enumerate(bodies)}


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE attempt SET reply = reply || ' '",
        "UPDATE attempt SET sha256 = 'x'",
        "UPDATE attempt SET key = (SELECT key FROM attempt ORDER BY key DESC LIMIT 1), attempt = 2 "
        "WHERE key = (SELECT key FROM attempt ORDER BY key LIMIT 1)",
    ],
    ids=["reply", "sha256", "key"],
)
def test_a_damaged_reply_is_not_served(tmp_path, damage):
    path = tmp_path / "v.sqlite"
    bodies = [BODY, {**BODY, "temperature": 1}]
    with open_store(path) as verdicts:
        for body in bodies:
            verdicts.add([Attempt(body, f"about {body['temperature']}", "j", True)])
        verdicts.connection.execute(damage)
        with pytest.raises(StoreError, match=r"damaged.*sha256") as caught:
            verdicts.replies(map(key_of, bodies))
    assert str(path) in str(caught.value)
    assert any(key_of(body) in str(caught.value) for body in bodies)


def test_what_is_no_database_is_reported_in_one_line(tmp_path):
    path = tmp_path / "v.sqlite"
    path.write_bytes(b"this is no database" * 100)
    with pytest.raises(StoreError, match="not a database") as caught, open_store(path):
        pass
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_another_layout_is_refused(tmp_path):
    path = tmp_path / "v.sqlite"
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StoreError, match="schema 99"), open_store(path):
        pass


def test_a_locked_store_is_reported_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.1)
    path = tmp_path / "v.sqlite"
    with open_store(path) as first, open_store(path) as second:
        first.connection.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="another process holds it"):
            second.add([Attempt(BODY, "x", "j", True)])
        first.connection.execute("ROLLBACK")


def test_a_full_disk_is_reported_and_loses_nothing(tmp_path):
    path = tmp_path / "v.sqlite"
    with open_store(path) as verdicts:
        verdicts.add([Attempt(BODY, "kept", "j", True)])
        verdicts.connection.execute("PRAGMA max_page_count = 8")
        with pytest.raises(StoreError, match="free some space"):
            verdicts.add([Attempt({**BODY, "seed": 1}, "x" * 100_000, "j", True)])
        verdicts.connection.execute("PRAGMA max_page_count = 100000")
        assert verdicts.replies([key_of(BODY)]) == {key_of(BODY): ["kept"]}


def test_a_directory_that_cannot_be_written_is_reported(tmp_path):
    with pytest.raises(StoreError, match="--workspace"), open_store(tmp_path):
        pass


WRITER = """
import sys
from pathlib import Path
from harness.judges.store.database import Attempt, open_store
with open_store(Path(sys.argv[1])) as verdicts:
    for i in range(100_000):
        verdicts.add([Attempt({"model": "j", "i": i}, f"reply {i}" * 50, "j", True)])
        print(i, flush=True)
"""


@pytest.mark.parametrize("lines", [1, 7, 50, 200])
def test_what_was_reported_as_written_survives_a_kill(tmp_path, lines):
    path = tmp_path / "v.sqlite"
    command = [sys.executable, "-c", WRITER, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        printed = [writer.stdout.readline() for _ in range(lines)]
        writer.send_signal(signal.SIGKILL)
        printed += writer.stdout.readlines()
    written = [int(line) for line in printed if line.endswith("\n")]
    assert len(written) >= lines
    keys = [key_of({"model": "j", "i": i}) for i in written]
    with open_store(path) as verdicts:
        assert verdicts.connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert len(verdicts.replies(keys)) == len(written)
        verdicts.add([Attempt(BODY, "goes on", "j", True)])


def test_two_processes_write_into_one_store(tmp_path):
    path = tmp_path / "v.sqlite"
    command = [sys.executable, "-c", WRITER, str(path)]
    with open_store(path):
        pass
    writers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    try:
        for writer in writers:
            for _ in range(20):
                assert writer.stdout.readline()
    finally:
        for writer in writers:
            writer.kill()
            writer.communicate()
    with open_store(path) as verdicts:
        replies = verdicts.replies(key_of({"model": "j", "i": i}) for i in range(20))
    assert len(replies) == 20
    assert {len(replies) for replies in replies.values()} == {2}

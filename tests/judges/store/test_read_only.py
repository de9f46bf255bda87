"""A store that cannot be written is listed, verified, exported and scored from."""

import os
import sqlite3

import pytest

from harness.errors import StoreError
from harness.judges.store import maintenance, read_only
from harness.judges.store.database import Attempt, key_of, open_store

BODY = {"model": "j", "messages": [{"role": "user", "content": "x"}]}


@pytest.fixture(params=["file", "directory"])
def path(tmp_path, monkeypatch, request):
    """A store of which the file, or the directory, cannot be written; root may write anything."""
    path = tmp_path / "shared" / "v.sqlite"
    with open_store(path) as store:
        store.add([Attempt(BODY, "{}", "j", True)])
    locked, access = {"file": path, "directory": path.parent}[request.param], os.access
    monkeypatch.setattr(
        os,
        "access",
        lambda name, mode: access(name, mode) and not (mode == os.W_OK and locked == name),
    )
    return path


def content(path):
    return {file.name: file.read_bytes() for file in path.parent.iterdir()}


def test_it_is_listed_verified_and_exported_and_nothing_changes(path, tmp_path):
    before = content(path)
    assert maintenance.summary(path)["verdicts"][0]["attempts"] == 1
    assert maintenance.verify(path) == maintenance.StoreHealth(1, ())
    assert maintenance.export(path, tmp_path / "out.jsonl") == 1
    with open_store(path) as store:
        assert store.replies([key_of(BODY)]) == {key_of(BODY): ["{}"]}
    assert content(path) == before


def test_writing_is_refused_in_one_line(path, tmp_path):
    before = content(path)
    with open_store(path) as store, pytest.raises(StoreError, match="readonly.*--workspace"):
        store.add([Attempt(BODY, "{}", "j", True)])
    with pytest.raises(StoreError, match="repair the copy"):
        maintenance.repair(path)
    assert content(path) == before


def test_what_was_left_open_is_read_from_a_copy(path, tmp_path, monkeypatch):
    writer = sqlite3.connect(path)
    writer.execute("SELECT * FROM attempt").fetchall()
    with monkeypatch.context() as patch:
        patch.setattr(read_only, "is_read_only", lambda path: False)
        patch.setattr("harness.judges.store.database.is_read_only", lambda path: False)
        patch.setattr("harness.judges.store.integrity.is_read_only", lambda path: False)
        with open_store(path) as store:
            store.add([Attempt(BODY | {"seed": 1}, "{}", "j", True)])
    before = content(path)
    assert "v.sqlite-wal" in before
    assert maintenance.verify(path).attempts == 2
    assert maintenance.export(path, tmp_path / "out.jsonl") == 2
    assert content(path) == before
    writer.close()


@pytest.mark.parametrize("is_open", [True, False])
def test_a_later_version_is_called_so(path, is_open):
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 9")
    if not is_open:
        connection.close()
    for look in (maintenance.verify, maintenance.summary):
        with pytest.raises(StoreError, match="later version"):
            look(path)
    connection.close()

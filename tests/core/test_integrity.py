"""Records carry their sha256, and a changed one is refused by name."""

from __future__ import annotations

import json

import pytest

from harness.core.workspace.integrity import check_file, check_record, record_sum, with_sum
from harness.errors import StoreError

RECORD = {"b": (1, 2.5), "a": {2: "ü", 10: None}, "rate": 0.1 + 0.2}


def written(record):
    return json.loads(json.dumps(with_sum(record), indent=1))


def test_a_record_is_read_as_it_was_written(tmp_path):
    check_record(tmp_path, written(RECORD), "run it again")
    assert record_sum(RECORD) == record_sum(written(RECORD)) == written(RECORD)["sha256"]


@pytest.mark.parametrize(
    "change", [{"rate": 0.3}, {"b": [2.5, 1]}, {"new": 1}, {"sha256": "0"}, {"sha256": None}]
)
def test_a_changed_record_is_refused_with_what_mends_it(tmp_path, change):
    with pytest.raises(StoreError, match=r"r\.json was changed .*: run it again"):
        check_record(tmp_path / "r.json", written(RECORD) | change, "run it again")


def test_a_record_without_its_sum_is_refused(tmp_path):
    with pytest.raises(StoreError, match="holds no sha256"):
        check_record(tmp_path / "r.json", RECORD, "run it again")


def test_a_changed_or_missing_file_is_refused(tmp_path):
    path = tmp_path / "items.json"
    path.write_text("58.2")
    expected = "2ddc8ff0bb5db5c2b7b9cf6b1b7c7c1d"
    with pytest.raises(StoreError, match=r"items\.json was changed"):
        check_file(path, expected, "run it again")
    path.unlink()
    with pytest.raises(StoreError, match=r"items\.json cannot be read"):
        check_file(path, expected, "run it again")

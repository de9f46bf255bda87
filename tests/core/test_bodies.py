"""Bodies of responses: a limit on what is received and on what it unpacks to."""

import gzip
import zlib

import pytest

from harness.core.bodies import BodyError, BodyReader

LIMIT = 2**20


def collect(data, encoding="", part=1000, limit=LIMIT):
    reader = BodyReader(encoding, limit)
    for start in range(0, len(data), part):
        reader.feed(data[start : start + part])
    return reader.content()


@pytest.mark.parametrize("part", [1, 7, 100_000])
def test_a_body_is_what_was_sent_in_whatever_parts_it_arrives(part):
    text = bytes(range(256)) * 20
    assert collect(text, part=part) == text
    assert collect(gzip.compress(text), "gzip", part) == text
    # an archive of two members, as some servers write
    assert collect(gzip.compress(text) + gzip.compress(b"end"), "x-gzip", part) == text + b"end"
    assert collect(b"", "gzip") == b""


def test_a_body_without_an_end_is_given_up_at_the_limit():
    reader = BodyReader("", LIMIT)
    for _ in range(LIMIT // 65536):
        reader.feed(b" " * 65536)
    with pytest.raises(BodyError, match="larger than 1 MB"):
        reader.feed(b" ")


def test_packed_blanks_are_not_unpacked_beyond_the_limit(monkeypatch):
    # 200 MB in 200 kB; unpacked in pieces, of which no more than the limit is ever held
    packed = gzip.compress(b" " * 200_000_000, 1)
    reader = BodyReader("gzip", LIMIT)
    with pytest.raises(BodyError, match="larger than 1 MB"):
        reader.feed(packed)
    assert sum(map(len, reader._parts)) <= LIMIT


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "deflate", "\x1b[31m"])
def test_a_packing_that_was_not_asked_for_is_refused(encoding):
    with pytest.raises(BodyError, match="not asked for"):
        BodyReader(encoding)


@pytest.mark.parametrize(
    "damaged",
    [b"no archive", zlib.compress(b"x"), gzip.compress(b"x")[:-4]],
    ids=["text", "zlib", "cut"],  # an archive holds the time
)
def test_a_damaged_archive_is_an_error_of_its_own(damaged):
    with pytest.raises(BodyError):
        collect(damaged, "gzip")

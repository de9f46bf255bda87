"""Reads the rows of a damaged SQLite file from its pages, without the tree that leads to them.

After https://www.sqlite.org/fileformat2.html: every page is tried as a leaf of a table, and what
comes out counts only where its own checksum holds. Needs a page size that is known, not a header.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

PAGE = 4096
HEADER = 100
"""Bytes of the file's own header, on its first page."""
OVERHEAD = 35
"""Bytes of a page that a leaf's cell never takes: so much of a long row lies on other pages."""
SMALLEST = (PAGE - 12) * 32 // 255 - 23
LONGEST = 1 << 30
WIDTHS = (0, 1, 2, 3, 4, 6, 8, 8, 0, 0)
"""Bytes of a column by the first ten type codes; 7 is a float."""

Row = tuple[object, ...]


def rows(path: Path) -> Iterator[Row]:
    """Yield whatever rows can be read; most are right, some may be nonsense."""
    data = path.read_bytes()
    for number in range(len(data) // PAGE):
        yield from _leaf(data, number)


def _leaf(data: bytes, number: int) -> Iterator[Row]:
    """Yield the rows of one page, as if it were a leaf."""
    page = data[number * PAGE : (number + 1) * PAGE]
    head = HEADER if number == 0 else 0
    for place in range(head + 8, PAGE - 1, 2):
        (start,) = struct.unpack_from(">H", page, place)
        if not place < start < PAGE - 3:
            # one pointer may be damaged; a zero is where unused space begins
            if start == 0:
                return
            continue
        try:
            yield _row(_payload(data, page, start))
        except (IndexError, ValueError, struct.error, UnicodeDecodeError, OverflowError):
            continue


def _payload(data: bytes, page: bytes, start: int) -> bytes:
    """Return a cell's record: what lies on its page, and what lies on others."""
    size, at = _varint(page, start)
    _, at = _varint(page, at)
    if not 0 < size < LONGEST:
        raise ValueError("no row is of this size")
    if size <= PAGE - OVERHEAD:
        return page[at : at + size]
    here = SMALLEST + (size - SMALLEST) % (PAGE - 4)
    here = here if here <= PAGE - OVERHEAD else SMALLEST
    parts, (follow,) = [page[at : at + here]], struct.unpack_from(">I", page, at + here)
    left = size - here
    while left > 0:
        begun = (follow - 1) * PAGE
        if not 0 < begun < len(data):
            raise ValueError("the row goes on outside the file")
        (follow,) = struct.unpack_from(">I", data, begun)
        parts.append(data[begun + 4 : begun + 4 + min(left, PAGE - 4)])
        left -= PAGE - 4
    return b"".join(parts)


def _row(record: bytes) -> Row:
    """Read a record: a header with the columns' types, then the columns."""
    length, at = _varint(record, 0)
    types = []
    while at < length:
        code, at = _varint(record, at)
        types.append(code)
    values, at = [], length
    for code in types:
        width = WIDTHS[code] if code < len(WIDTHS) else (code - 12) // 2
        part = record[at : at + width]
        if len(part) < width:
            raise ValueError("the row is cut off")
        values.append(_value(code, part))
        at += width
    return tuple(values)


def _value(code: int, part: bytes) -> object:
    match code:
        case 0:
            return None
        case 7:
            return struct.unpack(">d", part)[0]
        case 8 | 9:
            return code - 8
        case _ if code < 7:
            return int.from_bytes(part, "big", signed=True)
        case _:
            return part.decode("utf-8") if code % 2 else part


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return a number of one to nine bytes, and where it ends."""
    value = 0
    for count in range(8):
        byte = data[at + count]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + count + 1
    return value << 8 | data[at + 8], at + 9

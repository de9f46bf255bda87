"""Bodies of HTTP responses, read up to a limit: of the bytes received, and of those unpacked.

A server that never ends its body, or that sends gigabytes of blanks as a few packed kilobytes,
would otherwise fill the memory before its answer is looked at.
"""

from __future__ import annotations

import zlib
from typing import Any

LARGEST_BODY = 16 * 2**20
"""Bytes of an answer; 16,000 tokens with five alternatives each have six million."""
ENCODING = "gzip"
"""The packing that is asked for; another is refused."""
GZIP_WINDOW = 16 + zlib.MAX_WBITS
PIECE = 2**16
"""Bytes that are unpacked at a time."""


class BodyError(ValueError):
    """A body that is too large, or that cannot be unpacked."""


class BodyReader:
    """Collects a body that arrives in parts."""

    def __init__(self, encoding: str = "", limit: int = LARGEST_BODY) -> None:
        """Begin a body.

        Args:
            encoding: the header `content-encoding`; empty: not packed.
            limit: the largest number of bytes, unpacked.

        Raises:
            BodyError: the body is packed in another way than was asked for.
        """
        name = encoding.strip().lower().removeprefix("x-")
        if name not in ("", "identity", ENCODING):
            raise BodyError(f"the body is packed as {encoding[:40]!r}, which was not asked for")
        self.limit, self.size = limit, 0
        self._parts: list[bytes] = []
        self._unpacker = zlib.decompressobj(GZIP_WINDOW) if name == ENCODING else None
        self._is_empty = True

    def feed(self, data: bytes) -> None:
        """Add a part.

        Raises:
            BodyError: the body is too large, or is not what its encoding says.
        """
        self._is_empty = self._is_empty and not data
        if self._unpacker is None:
            self._add(data)
            return
        try:
            while data:
                if self._unpacker.eof:  # a further member of the archive
                    self._unpacker = zlib.decompressobj(GZIP_WINDOW)
                self._add(self._unpacker.decompress(data, PIECE))
                data = self._unpacker.unconsumed_tail or self._unpacker.unused_data
        except zlib.error as error:
            raise BodyError(f"the body cannot be unpacked ({error})") from None

    def content(self) -> bytes:
        """Return the whole body.

        Raises:
            BodyError: it ends before its archive does.
        """
        if self._unpacker is not None:
            self._add(self._unpacker.flush())
            if not self._unpacker.eof and not self._is_empty:
                raise BodyError("the body is cut off")
        return b"".join(self._parts)

    def _add(self, part: bytes) -> None:
        self.size += len(part)
        if self.size > self.limit:
            raise BodyError(f"the body is larger than {self.limit // 2**20} MB")
        self._parts.append(part)


async def read_async(response: Any, limit: int = LARGEST_BODY) -> None:
    """Read the body of a response of httpx, which then has its content.

    Raises:
        BodyError: it is too large, or cannot be unpacked.
    """
    reader = BodyReader(response.headers.get("content-encoding", ""), limit)
    async for data in response.aiter_raw():
        reader.feed(data)
    response._content = reader.content()


def read(response: Any, limit: int = LARGEST_BODY) -> None:
    """Read the body of a response of httpx, which then has its content.

    Raises:
        BodyError: it is too large, or cannot be unpacked.
    """
    reader = BodyReader(response.headers.get("content-encoding", ""), limit)
    for data in response.iter_raw():
        reader.feed(data)
    response._content = reader.content()

"""A judge's key: handed to the server, and in nothing that is kept or shown.

A server may say it back: in a reply, in an error, in a name. What is found of it is struck out, as
it is, as web addresses, JSON, base64 or hex write it, and in pieces that are long enough to tell
something. A piece that looks like a word (no digit, no capital after a small letter) tells nothing.
"""

from __future__ import annotations

import base64
import json
import logging
import re
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any
from urllib.parse import quote

HIDDEN = "***"
SHORTEST = 8
"""Characters of a key, or of a piece of one, from which it is struck out."""
PROBE = 4
"""Every piece of eight characters holds one of these, counted from the key's first character."""
TELLING = re.compile(r"\d|[a-z][A-Z]")
ENCODERS = (base64.b64encode, base64.urlsafe_b64encode)


class Secret:
    """A key that shows itself in no traceback."""

    def __init__(self, key: str) -> None:
        whole = len(key) >= SHORTEST
        self.forms = forms(key) if whole else ()
        self._pieces = pieces(key) if whole else frozenset()
        self._probes = [key[i : i + PROBE] for i in range(0, len(key) - PROBE + 1, PROBE)]

    def __repr__(self) -> str:
        return f"Secret({HIDDEN})"

    def clean(self, text: str) -> str:
        """Return a text without the key; one that does not hold it as it is."""
        for form in self.forms:
            if form in text:
                text = text.replace(form, HIDDEN)
        if self._pieces and any(probe in text for probe in self._probes):
            text = self._without_pieces(text)
        return text

    def clean_body(self, text: str) -> str:
        """Return a body without the key, escaped as JSON may write it or not.

        Raises:
            ValueError: what is left is no JSON any more.
        """
        text = self.clean(text)
        if "\\u" not in text:
            return text
        try:
            told = json.dumps(json.loads(text), ensure_ascii=False)
        except (ValueError, RecursionError):
            return text
        cleaned = self.clean(told)
        return text if cleaned == told else json.dumps(json.loads(cleaned))

    def _without_pieces(self, text: str) -> str:
        parts, begun, at = [], 0, 0
        while at <= len(text) - SHORTEST:
            if text[at : at + SHORTEST] in self._pieces:
                parts += [text[begun:at], HIDDEN]
                begun = at = at + SHORTEST
            else:
                at += 1
        return "".join([*parts, text[begun:]])


def forms(key: str) -> tuple[str, ...]:
    """Return the ways in which a whole key may be written, the longest first."""
    plain = {key, quote(key, safe=""), json.dumps(key)[1:-1]}
    coded = {key.encode().hex(), key.encode().hex().upper()}
    for shift in range(3):
        coded |= {_core(key, shift, encode) for encode in ENCODERS}
    found = {one for one in plain | coded if len(one) >= SHORTEST}
    found |= {one.replace("/", "\\/") for one in found}
    return tuple(sorted(found, key=len, reverse=True))


def pieces(key: str) -> frozenset[str]:
    """Return the parts of a key, eight characters each, that are no words."""
    parts = (key[i : i + SHORTEST] for i in range(len(key) - SHORTEST + 1))
    return frozenset(part for part in parts if TELLING.search(part))


def _core(key: str, shift: int, encode: Callable[[bytes], bytes]) -> str:
    """Return what base64 makes of a key after so many other bytes, whatever follows it."""
    data = bytes(shift) + key.encode()
    return encode(data).decode()[(0, 2, 3)[shift] : len(data) * 8 // 6]


def hush(secret: Secret) -> None:
    """Have no log of this process hold a key, whoever writes it, whenever it is opened."""
    if secret.forms:
        _HUSHED[secret.forms] = secret
    make = logging.getLogRecordFactory()
    if getattr(make, "func", None) is not _record:
        logging.setLogRecordFactory(partial(_record, make))


_HUSHED: dict[tuple[str, ...], Secret] = {}


def _record(make: Callable[..., logging.LogRecord], *told: Any, **more: Any) -> logging.LogRecord:
    """Make a record, and strike keys out of its message and its traceback."""
    record = make(*told, **more)
    with suppress(TypeError, ValueError, LookupError):  # what does not fit its format is told later
        text = record.getMessage()
        if (cleaned := _hushed(text)) != text:
            record.msg, record.args = cleaned, ()
    if record.exc_info and record.exc_info[0]:
        text = logging.Formatter().formatException(record.exc_info)
        if (cleaned := _hushed(text)) != text:
            record.exc_text, record.exc_info = cleaned, None
    return record


def _hushed(text: str) -> str:
    for secret in _HUSHED.values():
        text = secret.clean(text)
    return text

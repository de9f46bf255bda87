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

MASK = "***"
MIN_LENGTH = 8
"""Characters of a key, or of a piece of one, from which it is struck out."""
PROBE_LENGTH = 4
"""Every piece of eight characters holds one of these, counted from the key's first character."""
REVEALING = re.compile(r"\d|[a-z][A-Z]")
ENCODERS = (base64.b64encode, base64.urlsafe_b64encode)


class Secret:
    """A key that shows itself in no traceback."""

    def __init__(self, key: str) -> None:
        is_long_enough = len(key) >= MIN_LENGTH
        self.forms = encoded_forms(key) if is_long_enough else ()
        self._fragments = fragments(key) if is_long_enough else frozenset()
        self._probes = [
            key[i : i + PROBE_LENGTH] for i in range(0, len(key) - PROBE_LENGTH + 1, PROBE_LENGTH)
        ]

    def __repr__(self) -> str:
        return f"Secret({MASK})"

    def redact(self, text: str) -> str:
        """Return a text without the key; one that does not hold it as it is."""
        for form in self.forms:
            if form in text:
                text = text.replace(form, MASK)
        if self._fragments and any(probe in text for probe in self._probes):
            text = self._redact_fragments(text)
        return text

    def redact_body(self, text: str) -> str:
        """Return a body without the key, escaped as JSON may write it or not.

        Raises:
            ValueError: what is left is no JSON any more.
        """
        text = self.redact(text)
        if "\\u" not in text:
            return text
        try:
            decoded = json.dumps(json.loads(text), ensure_ascii=False)
        except (ValueError, RecursionError):
            return text
        redacted = self.redact(decoded)
        return text if redacted == decoded else json.dumps(json.loads(redacted))

    def _redact_fragments(self, text: str) -> str:
        parts, start, position = [], 0, 0
        while position <= len(text) - MIN_LENGTH:
            if text[position : position + MIN_LENGTH] in self._fragments:
                parts += [text[start:position], MASK]
                start = position = position + MIN_LENGTH
            else:
                position += 1
        return "".join([*parts, text[start:]])


def encoded_forms(key: str) -> tuple[str, ...]:
    """Return the ways in which a whole key may be written, the longest first."""
    plain = {key, quote(key, safe=""), json.dumps(key)[1:-1]}
    coded = {key.encode().hex(), key.encode().hex().upper()}
    for shift in range(3):
        coded |= {_core(key, shift, encode) for encode in ENCODERS}
    encodings = {form for form in plain | coded if len(form) >= MIN_LENGTH}
    encodings |= {form.replace("/", "\\/") for form in encodings}
    return tuple(sorted(encodings, key=len, reverse=True))


def fragments(key: str) -> frozenset[str]:
    """Return the parts of a key, eight characters each, that are no words."""
    parts = (key[i : i + MIN_LENGTH] for i in range(len(key) - MIN_LENGTH + 1))
    return frozenset(part for part in parts if REVEALING.search(part))


def _core(key: str, shift: int, encode: Callable[[bytes], bytes]) -> str:
    """Return what base64 makes of a key after so many other bytes, whatever follows it."""
    data = bytes(shift) + key.encode()
    return encode(data).decode()[(0, 2, 3)[shift] : len(data) * 8 // 6]


def redact_logs(secret: Secret) -> None:
    """Have no log of this process hold a key, whoever writes it, whenever it is opened."""
    if secret.forms:
        _REDACTED_SECRETS[secret.forms] = secret
    factory = logging.getLogRecordFactory()
    if getattr(factory, "func", None) is not _redacting_factory:
        logging.setLogRecordFactory(partial(_redacting_factory, factory))


_REDACTED_SECRETS: dict[tuple[str, ...], Secret] = {}


def _redacting_factory(
    factory: Callable[..., logging.LogRecord], *arguments: Any, **keywords: Any
) -> logging.LogRecord:
    """Make a record, and strike keys out of its message and its traceback."""
    record = factory(*arguments, **keywords)
    with suppress(TypeError, ValueError, LookupError):  # what does not fit its format is told later
        text = record.getMessage()
        if (redacted := _redact(text)) != text:
            record.msg, record.args = redacted, ()
    if record.exc_info and record.exc_info[0]:
        text = logging.Formatter().formatException(record.exc_info)
        if (redacted := _redact(text)) != text:
            record.exc_text, record.exc_info = redacted, None
    return record


def _redact(text: str) -> str:
    for secret in _REDACTED_SECRETS.values():
        text = secret.redact(text)
    return text

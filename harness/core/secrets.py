"""A server's API key: sent to the server, and removed from everything that is stored or shown.

A server may repeat the key in a reply, an error message or a name. The exact key is replaced there,
also where JSON escapes it; parts of a key and other encodings of it are not looked for.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from pydantic import SecretStr

MASK = "***"
MIN_LENGTH = 8
"""Characters from which a key is redacted: a shorter one (`none`, `x`) is no secret but a word."""


class Secret(SecretStr):
    """An API key that no traceback and no `repr` shows."""

    def redact(self, text: str) -> str:
        """Return a text with every occurrence of the key masked."""
        key = self.get_secret_value()
        return text.replace(key, MASK) if len(key) >= MIN_LENGTH else text

    def redact_body(self, text: str) -> str:
        """Return a response body with the key masked, also in strings whose characters are escaped.

        A body without the key is returned unchanged.
        """
        text = self.redact(text)
        if "\\" not in text:
            return text
        try:
            decoded = json.loads(text)
            redacted = self._redact_json(decoded)
        except (ValueError, RecursionError):
            return text
        return text if redacted == decoded else json.dumps(redacted)

    def _redact_json(self, value: Any) -> Any:
        match value:
            case str():
                return self.redact(value)
            case list():
                return [self._redact_json(item) for item in value]
            case dict():
                return {self.redact(key): self._redact_json(item) for key, item in value.items()}
        return value


def redact_logs(secret: Secret) -> None:
    """Mask a key in every log record of this process, whichever logger writes it from now on."""
    _SECRETS.add(secret)
    factory = logging.getLogRecordFactory()
    if not isinstance(factory, _RedactingFactory):
        logging.setLogRecordFactory(_RedactingFactory(factory))


_SECRETS: set[Secret] = set()


class _RedactingFactory:
    def __init__(self, factory: Callable[..., logging.LogRecord]) -> None:
        self.factory = factory

    def __call__(self, *arguments: Any, **keywords: Any) -> logging.LogRecord:
        """Create a record with the keys masked in its message and its traceback."""
        record = self.factory(*arguments, **keywords)
        with suppress(TypeError, ValueError, LookupError):  # logging reports a bad format itself
            text = record.getMessage()
            if (redacted := _redact(text)) != text:
                record.msg, record.args = redacted, ()
        if record.exc_info and record.exc_info[0]:
            text = logging.Formatter().formatException(record.exc_info)
            if (redacted := _redact(text)) != text:
                record.exc_text, record.exc_info = redacted, None
        return record


def _redact(text: str) -> str:
    for secret in _SECRETS:
        text = secret.redact(text)
    return text

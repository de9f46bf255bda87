"""A server's API key: sent to the server, and removed from everything that is stored or shown.

A server may repeat the key in a reply, an error message or a name. The exact key is replaced there,
also where JSON escapes it; parts of a key and other encodings of it are not looked for.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from pydantic import SecretStr

from harness.errors import ConfigError

MASK = "***"
MIN_LENGTH = 8
"""Characters from which a key is redacted: a shorter one (`none`, `x`) is no secret but a word."""


KEY_NAMES = re.compile(
    r"(api|access|secret|auth|private|subscription|signing|session)_?keys?(_?id)?$"
    r"|(^|_)(authori[sz]ation|password|passwd|passphrase|secret|credentials?|cookie|bearer|jwt)$"
    r"|(^|_)((api|access|auth|bearer|id|refresh|secret|session|security|private)_?)token$"
    r"|^(x_)?token$|^key$"
)
"""What names of parameters that hold a key look like, in lower case and with `_` between words."""
KEY_VALUES = re.compile(
    r"^(bearer|basic)\s+\S{8,}$|^(sk|pk|rk|gsk|xai|hf|ghp|gho|github_pat|AIza|AKIA)[-_]?\w[\w-]{18,}$",
    re.IGNORECASE,
)
"""What keys themselves look like: `Bearer ...`, or a provider's prefix and 20 characters."""


def refuse_keys(parameters: Mapping[str, Any], where: str) -> None:
    """Refuse parameters that hold a key, at any depth: they are filed with every result.

    Args:
        parameters: what is sent with every request.
        where: what the configuration calls them.

    Raises:
        ConfigError: one has the name or the look of a key; the message does not hold the value.
    """
    for path, value in _leaves(parameters, where):
        name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|[^A-Za-z0-9]+", "_", path[-1]).lower().strip("_")
        if value is None or not (KEY_NAMES.search(name) or KEY_VALUES.search(str(value))):
            continue
        raise ConfigError(
            f"{'.'.join(path)} looks like a key, and is filed and shown with every result: put the "
            "key into the environment, and name its variable with `api_key_env` (OPENAI_API_KEY if "
            "it is left out)"
        )


def _leaves(value: Any, *path: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    match value:
        case Mapping():
            for name, inner in value.items():
                yield (*path, str(name)), None if isinstance(inner, bool) else inner
                yield from _leaves(inner, *path, str(name))
        case list() | tuple():
            for inner in value:
                yield from _leaves(inner, *path)
        case str():
            yield path, value


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

"""What servers write about an error into its body, in all the shapes that are met.

An error may come as OpenAI's object, as Google's list, as FastAPI's `detail`, as a text, or with
the status 200. The time after which to try again may be in it rather than in a header.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from harness.core.http import OUT_OF_CREDIT, parse_duration
from harness.core.refusals import REQUEST_CODES

ERROR_KEYS = ("error", "errors", "detail", "base_resp")
MESSAGE_KEYS = (
    *("message", "msg", "error_description", "error_msg", "status_msg", "detail", "reason"),
)
CODE_KEYS = ("code", "type", "status", "error_code", "status_code")
DELAY_KEYS = ("retryDelay", "retry_after", "retryAfter", "retry_after_seconds", "retry-after")
"""Keys of a delay: a number of seconds, a text such as `37.5s`, or Google's seconds and nanos."""
MILLISECOND_KEYS = ("retry_after_ms", "retry-after-ms")
UNIT = (
    r"(?:milliseconds?|msecs?|ms|minutes?|mins?|m|seconds?|secs?|s|hours?|hrs?|h|days?|d)(?![a-z])"
)
DELAY_PHRASE = re.compile(
    r"(?:try again|retry(?:ing)?|wait|back off|resets?)(?: your request| again| at least)?"
    r"(?: in| after| for)?(?: about| at least)? ?((?:\d+(?:\.\d+)? ?" + UNIT + r" ?)+)",
    re.IGNORECASE,
)
"""A delay in words: `Please try again in 6m0s`, `retry after 20 seconds`."""
STATUS_OF_CODE = {
    OUT_OF_CREDIT: 429,
    "rate_limit_exceeded": 429,
    "rate_limit_error": 429,
    "resource_exhausted": 429,
    "invalid_api_key": 401,
    "authentication_error": 401,
    "unauthenticated": 401,
    "permission_denied": 403,
    "permission_error": 403,
    "model_not_found": 404,
    "invalid_request_error": 400,
    "invalid_argument": 400,
} | dict.fromkeys(REQUEST_CODES, 400)
"""The status of an error that came with 200 and has a code in words only."""


@dataclass(frozen=True, slots=True)
class ServerError:
    """An error as a body describes it."""

    message: str
    """The server's words; empty if there are none."""
    codes: tuple[str, ...]
    """Its code, type and status."""
    status: int | None
    """The HTTP status that the body names or implies; None: it does neither."""
    delay: float | None
    """Seconds after which to try again; None: the body does not say."""


def read_error(data: Any) -> ServerError | None:
    """Return the error in a body that was parsed as JSON; None if it describes none."""
    described = _error_object(data)
    if described is None:
        return None
    error: Mapping[str, Any] = (
        described if isinstance(described, Mapping) else {"message": described}
    )
    message = _message(error)
    codes = tuple(
        str(error[key])
        for key in CODE_KEYS
        if isinstance(error.get(key), str | int) and not isinstance(error[key], bool)
    )
    outer = data[0] if isinstance(data, list) else data
    return ServerError(message, codes, _status(codes), _delay(error, outer, message))


def read_error_text(text: str) -> ServerError | None:
    """Return the error in a body; None if it is no JSON or describes none."""
    try:
        return read_error(json.loads(text.removeprefix("\ufeff")))
    except (ValueError, RecursionError):
        return None


def _error_object(data: Any) -> Mapping[str, Any] | str | None:
    """Return the innermost description of an error: an object or a text."""
    if isinstance(data, list):
        data = next((item for item in data if isinstance(item, Mapping)), None)
    if not isinstance(data, Mapping):
        return None
    for key in ERROR_KEYS:
        value = data.get(key)
        value = value[0] if isinstance(value, list) and value else value
        if isinstance(value, Mapping | str) and value:
            return value
    has_words = any(isinstance(data.get(key), str) for key in MESSAGE_KEYS)
    is_error = has_words and (any(key in data for key in CODE_KEYS) or data.get("success") is False)
    return data if is_error or data.get("object") == "error" else None


def _message(error: Mapping[str, Any]) -> str:
    """Return the words; a gateway's go before the provider's, which it quotes as `raw`."""
    texts = [error[key] for key in MESSAGE_KEYS if isinstance(error.get(key), str) and error[key]]
    metadata = error.get("metadata")
    raw = metadata.get("raw") if isinstance(metadata, Mapping) else None
    return ": ".join([*texts[:1], *([raw] if isinstance(raw, str) and raw else [])])


def _status(codes: tuple[str, ...]) -> int | None:
    for code in codes:
        if code.isascii() and code.isdigit() and len(code) == 3 and 400 <= int(code) < 600:
            return int(code)
    return next((STATUS_OF_CODE[c.lower()] for c in codes if c.lower() in STATUS_OF_CODE), None)


def _delay(error: Mapping[str, Any], outer: Any, message: str) -> float | None:
    for item in _objects(error, outer):
        for key in (*DELAY_KEYS, *MILLISECOND_KEYS):
            seconds = _seconds(item.get(key))
            if seconds is not None:
                return seconds / 1000 if key in MILLISECOND_KEYS else seconds
    phrase = DELAY_PHRASE.search(message)
    return parse_duration(phrase[1]) if phrase else None


def _objects(error: Mapping[str, Any], outer: Any) -> Iterator[Mapping[str, Any]]:
    """Yield the objects in which a delay may be."""
    details = error.get("details")
    nested = [*details] if isinstance(details, list) else [details]
    for item in (error, outer, *nested, error.get("metadata")):
        if isinstance(item, Mapping):
            yield item


def _seconds(value: Any) -> float | None:
    if isinstance(value, Mapping):
        parts = (_seconds(value.get("seconds")), _seconds(value.get("nanos")))
        return None if parts == (None, None) else (parts[0] or 0.0) + (parts[1] or 0.0) / 1e9
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value) if 0 <= value < 1e12 else None
    if isinstance(value, str) and re.match(r"\s*\d", value):
        return parse_duration(value)
    return None

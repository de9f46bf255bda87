"""What all clients of HTTP servers share: which failures are retried and when, addresses, messages.

`RetryingCaller` and `BatchAPI` (judges) and `OpenAIEngine` (engines) use it.
"""

from __future__ import annotations

import ipaddress
import random
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from harness.core.terminal import shorten
from harness.errors import first_line

HOST = re.compile(r"[\w.-]+|[0-9a-f:.]+(%\w+)?", re.IGNORECASE)
"""A host's name, or an IPv6 address."""
RETRYABLE_STATUSES = frozenset({408, 409, 424, 425, 429, 499})
"""Statuses below 500 that may pass."""
OUT_OF_CREDIT = "insufficient_quota"
"""The code of a 429 that does not pass."""
OUT_OF_CREDIT_PHRASE = re.compile(
    r"insufficient[ _](credit|balance|fund|quota)|out of credit|billing hard limit"
    r"|余额不足|欠费|(account )?in arrears"
    r"|(run out of|used all( available)?|not enough|no more) (your )?credit|payment required",
    re.IGNORECASE,
)
"""The same in words, whatever the status."""
LONGEST_RETRY_AFTER = 120.0
"""Seconds: a longer pause that a server asks for is cut to this."""
EPOCH_SECONDS, EPOCH_MILLISECONDS = 1e9, 1e11
"""A larger number is a moment: seconds, or milliseconds, since 1970."""
DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|milli|s|m|h|d)", re.IGNORECASE)
UNITS = {"ms": 0.001, "milli": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
SECRET_IN_URL = (
    "an address is shown and stored, so it must have no user, password or query: put the key into "
    "the environment (api_key_env names the variable)"
)


@dataclass(frozen=True, slots=True)
class Backoff:
    """Pauses between attempts, which double up to a maximum."""

    first: float
    """Seconds before the second attempt."""
    longest: float
    """Seconds."""

    def pause(
        self, attempt: int, requested: float | None = None, jitter: random.Random | None = None
    ) -> float:
        """Return the seconds to wait after the failure of an attempt, counted from 1.

        The pause that a server asks for is kept. From the second failure on it is also no shorter
        than the doubled one, so that a lasting rate limit does not use up the attempts.

        Args:
            attempt: the attempt that failed.
            requested: the seconds that the server asks for; None if it does not.
            jitter: a source of random numbers.
        """
        uniform = (jitter or random).uniform
        doubled = min(self.longest, self.first * 2.0 ** (attempt - 1)) * uniform(0.5, 1)
        if requested is None:
            return doubled
        pause = min(requested, LONGEST_RETRY_AFTER) * uniform(1.0, 1.1)
        return max(pause, doubled if attempt > 1 else 0.0)


def is_retryable(status: int, *texts: object) -> bool:
    """Say whether a failure may pass: by its status, and the error's codes and message."""
    return (status in RETRYABLE_STATUSES or status >= 500) and not is_out_of_credit(*texts)


def is_out_of_credit(*texts: object) -> bool:
    """Say whether an error's codes or message mean that the credit is used up."""
    return any(OUT_OF_CREDIT_PHRASE.search(str(text)) for text in texts)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that a server asks to wait; the header is a number or a date.

    A date is compared with the server's own (`date`), if it sends that: clocks differ.
    """
    if milliseconds := headers.get("retry-after-ms"):
        with suppress(ValueError):
            return max(0.0, float(milliseconds) / 1000)
    header = headers.get("retry-after", "").strip()
    return None if not header else _seconds_until(header, headers)


def reset_seconds(text: str, headers: Mapping[str, str]) -> float:
    """Return the seconds until a limit is reset: a duration, a number, or a moment in time.

    Args:
        text: as the server writes it; 0 for what is none of these.
        headers: of the response, with the server's own time (`date`), if it sends that.
    """
    seconds = _seconds_until(text.strip(), headers)
    return parse_duration(text) if seconds is None else seconds


def _seconds_until(text: str, headers: Mapping[str, str]) -> float | None:
    """Return the seconds until a moment, or the number that a text is; None if it is neither.

    A moment is compared with the server's own time, if it sends that: clocks differ.
    """
    with suppress(ValueError):
        number = float(text)
        if number < EPOCH_SECONDS:
            return max(0.0, number)
        moment = number / 1000 if number >= EPOCH_MILLISECONDS else number
        return max(0.0, moment - _server_time(headers))
    for parse in (parsedate_to_datetime, datetime.fromisoformat):
        with suppress(ValueError, OverflowError, TypeError):
            return max(0.0, parse(text).timestamp() - _server_time(headers))
    return None


def parse_duration(text: str) -> float:
    """Return the seconds of a duration as servers write it: `1s`, `6m0s`, `120ms`, `20 seconds`.

    A number without a unit is in seconds; 0 for what is no duration.
    """
    parts = DURATION.findall(text)
    if not parts:
        return float(text) if re.fullmatch(r"\d+(\.\d+)?", text.strip()) else 0.0
    return sum(float(number) * UNITS[unit.lower()] for number, unit in parts)


def _server_time(headers: Mapping[str, str]) -> float:
    with suppress(ValueError, OverflowError, TypeError):
        return parsedate_to_datetime(headers.get("date", "")).timestamp()
    return time.time()


def redirect_text(status: int, headers: Mapping[str, str]) -> str:
    """Say where a response sends the request instead; empty if it does not."""
    if not 300 <= status < 400:
        return ""
    target = headers.get("location", "").partition("?")[0].rpartition("@")[2]
    return f"it redirects to {shorten(target) or 'nowhere'}: give the server's own address"


def address_fault(url: str) -> str:
    """Say what is wrong with the address of a server; empty if nothing is."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        return first_line(error)
    if parts.scheme not in ("http", "https"):
        return "it must begin with http:// or https://"
    if not host or not HOST.fullmatch(host):
        return "it has no host" if not host else "its host is none"
    if port == 0:
        return "its port is 0"
    if not url.isprintable() or " " in url:
        return "it has blanks or invisible characters"
    return ""


def is_loopback(url: str) -> bool:
    """Say whether an address is on this machine: it needs no key and no proxy."""
    host = "" if address_fault(url) else urlsplit(url).hostname or ""
    with suppress(ValueError):
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    return False


def has_secrets(url: str) -> bool:
    """Say whether an address may hold a user name, a password or a query."""
    return bool(set("@?#") & set(url))


def is_connect_failure(error: BaseException) -> bool:
    """Say whether no connection was made at all."""
    names = set()
    cause: BaseException | None = error
    while cause is not None:
        names.add(type(cause).__name__)
        cause = cause.__cause__
    return bool(names & {"ConnectError", "ConnectTimeout"})


def error_text(message: Any, *codes: Any) -> str:
    """Return the text of an error: its codes, then its message, each once."""
    return ": ".join(dict.fromkeys(str(part) for part in (*codes, message) if part))

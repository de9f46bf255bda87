"""Downloads that go on where they were interrupted."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from pathlib import Path

SECONDS = 60
CHUNK = 1 << 20
PARTIAL, NOT_SATISFIABLE = 206, 416


class Interrupted(Exception):
    """A download that could not be ended; what came of it is kept."""


def fetch(url: str, path: Path) -> None:
    """Download into a file, going on at its end where the server can.

    Raises:
        Interrupted: the server cannot be reached, refuses, or broke off.
    """
    begun = path.stat().st_size if path.is_file() else 0
    request = urllib.request.Request(url)
    if begun:
        request.add_header("Range", f"bytes={begun}-")
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as response:
            _take(response, path, whole=response.status != PARTIAL)
    except urllib.error.HTTPError as error:
        if error.code != NOT_SATISFIABLE:  # nothing is left to come
            raise _told(error, f"{error.code} {error.reason}") from error
    except (urllib.error.URLError, http.client.HTTPException, OSError, ValueError) as error:
        raise _told(error, str(getattr(error, "reason", None) or error)) from error


def _take(response: http.client.HTTPResponse, path: Path, *, whole: bool) -> None:
    wanted = response.headers.get("content-length")
    taken = 0
    with path.open("wb" if whole else "ab") as file:
        while chunk := response.read(CHUNK):
            file.write(chunk)
            taken += len(chunk)
    if wanted is not None and taken < int(wanted):
        raise http.client.IncompleteRead(b"", int(wanted) - taken)


def _told(error: BaseException, what: str) -> Interrupted:
    return Interrupted(
        f"cannot be fetched ({what}); try again: it goes on where it was; or fetch it elsewhere "
        "and name its folder with --assets DIR (laid out as SET/FILE)"
    )

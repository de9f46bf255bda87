"""What arena-hard-auto measures of an answer: tokens by tiktoken, and Markdown elements."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from harness.errors import AssetError

if TYPE_CHECKING:
    from tiktoken import Encoding

EncodingName = Literal["cl100k_base", "o200k_base"]
CACHE = "TIKTOKEN_CACHE_DIR"
FENCED = re.compile("```([^`]*)```")
ELEMENTS = {
    "header": re.compile(r"^#{1,6}\s", re.MULTILINE),
    "list": re.compile(r"^\s*(?:\d+\.|[-*+])\s", re.MULTILINE),
    "bold": re.compile(r"\*\*[^*\n]+\*\*|__[^_\n]+__"),
}


@dataclass(frozen=True, slots=True)
class Style:
    """How an answer is written."""

    tokens: int
    header: int
    list: int
    bold: int


def style(text: str, name: EncodingName, folder: Path) -> Style:
    """Measure an answer; Markdown inside fenced code does not count.

    As upstream, whatever stands between two fences is removed wherever it stands in the text.

    Raises:
        AssetError: the encoding's file cannot be had.
    """
    bare = text
    for block in FENCED.findall(text):
        bare = bare.replace(block, "")
    found = {element: len(pattern.findall(bare)) for element, pattern in ELEMENTS.items()}
    return Style(tokens(text, name, folder), **found)


def tokens(text: str, name: EncodingName, folder: Path) -> int:
    """Return how many tokens a text has; special tokens in it are plain text.

    Raises:
        AssetError: the encoding's file cannot be had.
    """
    return len(encoding(name, folder).encode(text, disallowed_special=()))


@lru_cache(maxsize=2)
def encoding(name: EncodingName, folder: Path) -> Encoding:
    """Return an encoding, read from the folder `tiktoken` of the protocol data where it is there.

    Raises:
        AssetError: its file is not there and cannot be fetched.
    """
    import tiktoken

    if (local := folder / "tiktoken").is_dir():
        os.environ.setdefault(CACHE, str(local))
    try:
        return tiktoken.get_encoding(name)
    except (OSError, ValueError) as error:
        raise AssetError(
            f"tiktoken's {name} cannot be had ({type(error).__name__}): connect once, or name a "
            f"folder with its cache files with {CACHE}"
        ) from error

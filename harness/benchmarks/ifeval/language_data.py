"""nltk's data, where it is found without a network, and a language detector that is seeded.

nltk looks in its own directories. Further ones are `nltk_data` in the protocol data, and the copy
that the package llama-index-core carries (`pip install --no-deps llama-index-core`).
"""

from __future__ import annotations

import io
import random
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from harness.core.extras import missing_extra
from harness.core.hub import assets_directory
from harness.errors import MissingDependencyError

SENTENCES = "tokenizers/punkt_tab"
STOP_WORDS = "corpora/stopwords"
TAGGER = "taggers/averaged_perceptron_tagger_eng"
FOLDER = "nltk_data"
DRAWS_SEED = 0
"""Seeds langdetect, and what upstream's checkers draw at random."""


def has_data(name: str) -> bool:
    """Return whether nltk finds a resource, in its directories or in the further ones.

    Raises:
        MissingDependencyError: nltk is not installed.
    """
    nltk = import_nltk()
    for variant in (name, f"{name}.zip"):
        try:
            nltk.data.find(variant)
        except LookupError:
            continue
        return True
    return False


def require_data(name: str) -> None:
    """Refuse to go on without a resource of nltk.

    Raises:
        MissingDependencyError: it is in none of the directories.
    """
    if not has_data(name):
        raise MissingDependencyError(missing_data(name))


def missing_data(name: str) -> str:
    """Return what is missing, and the commands that bring it."""
    resource = name.rpartition("/")[2]
    package = (
        "" if name == TAGGER else ", or `pip install --no-deps llama-index-core`, which has it"
    )
    return f"needs nltk's data {resource}: `python -m nltk.downloader {resource}`{package}"


def import_nltk() -> Any:
    """Import nltk, and have it look in the further directories.

    Raises:
        MissingDependencyError: nltk is not installed.
    """
    try:
        import nltk
    except ModuleNotFoundError as error:
        raise missing_extra(error) or error from error
    known = set(nltk.data.path)
    nltk.data.path += [str(p) for p in _directories() if p.is_dir() and str(p) not in known]
    return nltk


def _directories() -> Iterator[Path]:
    yield assets_directory() / FOLDER
    package = find_spec("llama_index") and find_spec("llama_index.core")
    for location in (package and package.submodule_search_locations) or ():
        yield Path(location) / "_static" / "nltk_cache"


@contextmanager
def without_download() -> Iterator[None]:
    """Keep packages from downloading nltk's data, and from printing, while they are imported."""
    nltk = import_nltk()
    download = nltk.download
    nltk.download = lambda *_, **__: False
    try:
        with redirect_stdout(io.StringIO()):
            yield
    finally:
        nltk.download = download


@contextmanager
def seeded() -> Iterator[None]:
    """Seed langdetect and Python's generator within the context, and restore both.

    Upstream leaves both unseeded, so that its figures differ from run to run.
    """
    from langdetect import DetectorFactory

    state, detector_seed = random.getstate(), DetectorFactory.seed
    random.seed(DRAWS_SEED)
    DetectorFactory.seed = DRAWS_SEED
    try:
        yield
    finally:
        random.setstate(state)
        DetectorFactory.seed = detector_seed

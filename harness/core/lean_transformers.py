"""transformers without scikit-learn, whose import takes a third of transformers' own.

One option of assisted generation, which nothing here uses, is all that transformers wants it for.
"""

from __future__ import annotations

import importlib
import sys

CANDIDATES = "transformers.generation.candidate_generator"


def import_generation() -> None:
    """Import transformers' generation without scikit-learn, unless it is imported already."""
    if CANDIDATES in sys.modules:
        return
    from transformers import utils

    available = utils.is_sklearn_available
    utils.is_sklearn_available = lambda: False
    try:
        importlib.import_module(CANDIDATES)
    finally:
        utils.is_sklearn_available = available

"""Whether the model that answers is the one that was asked for."""

from __future__ import annotations

import re
from collections.abc import Collection
from urllib.parse import urlsplit

from harness.errors import JudgeIdentityError

UNNAMED = "unnamed"
"""What a model is called whose server does not tell its name."""
ALIAS_HOSTS = ("openai.com", "googleapis.com", "anthropic.com")
"""Whose names without a date or a version may come to mean another model."""
DATED_NAME = re.compile(r"(-\d{4}-\d{2}-\d{2}|-\d{8}|-\d{4}|-\d{3})(-preview)?$")


def accepted_names(
    model: str, served_as: Collection[str], accepted: Collection[str]
) -> frozenset[str]:
    """Return the names under which the judge may be served."""
    return frozenset({model, *served_as, *accepted})


def served_name(name: str) -> str:
    """Return what a model is called that a reply names."""
    return name or UNNAMED


def is_alias(model: str, url: str) -> bool:
    """Say whether a name is an alias: at its owner's, and without a date or a version."""
    host = urlsplit(url).hostname or ""
    return host.endswith(ALIAS_HOSTS) and not DATED_NAME.search(model)


def reject_alias(model: str, url: str, accepted: Collection[str]) -> None:
    """Refuse an alias that nobody has said yes to.

    Raises:
        JudgeIdentityError: it is one.
    """
    if is_alias(model, url) and not accepted:
        raise JudgeIdentityError(
            f"{model} at {url} is an alias: its owner may have it mean another model at any time. "
            f"Name a dated model with --judge or --set judge.model=NAME, or say which one you mean "
            "with --accept-judge NAME (`harness judge doctor` tells what is served)"
        )


def wrong_model_error(judge_name: str, model: str, name: str, count: int) -> JudgeIdentityError:
    """Return the error of a judge that serves another model."""
    return JudgeIdentityError(
        f"{judge_name} was asked for {model} and served {name}: {count} of its replies are kept in "
        f"quarantine and count nowhere; if that is the judge you mean, say so with "
        f"--accept-judge {name}"
    )

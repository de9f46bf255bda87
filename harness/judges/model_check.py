"""Checks that the model that replies is the model that was requested."""

from __future__ import annotations

import re
from collections.abc import Collection
from urllib.parse import urlsplit

from harness.errors import JudgeIdentityError

UNNAMED = "unnamed"
"""The name of a model whose server does not report one."""
ALIAS_HOSTS = ("openai.com", "googleapis.com", "anthropic.com")
"""Providers whose model names without a date or a version are aliases."""
DATED_NAME = re.compile(r"(-\d{4}-\d{2}-\d{2}|-\d{8}|-\d{4}|-\d{3})(-preview)?$")


def accepted_names(
    model: str, served_as: Collection[str], accepted: Collection[str]
) -> frozenset[str]:
    """Return the model names that the server may reply with."""
    return frozenset({model, *served_as, *accepted})


def served_name(name: str) -> str:
    """Return the name of the model in a reply."""
    return name or UNNAMED


def is_alias(model: str, url: str) -> bool:
    """Say whether a name is an alias: at its provider, and without a date or a version."""
    host = urlsplit(url).hostname or ""
    return host.endswith(ALIAS_HOSTS) and not DATED_NAME.search(model)


def reject_alias(model: str, url: str, accepted: Collection[str]) -> None:
    """Refuse an alias unless its meaning was accepted.

    Raises:
        JudgeIdentityError: the name is an alias.
    """
    if is_alias(model, url) and not accepted:
        raise JudgeIdentityError(
            f"{model} at {url} is an alias: its provider may change its meaning at any time. "
            f"Name a dated model with --judge or --set judge.model=NAME, or say which model you "
            "mean with --accept-judge NAME (`harness judge doctor` shows what is served)"
        )


def wrong_model_error(judge_name: str, model: str, name: str, count: int) -> JudgeIdentityError:
    """Return the error of a judge that replies with another model."""
    return JudgeIdentityError(
        f"{judge_name} was asked for {model} and served {name}: {count} of its replies are "
        f"quarantined and count nowhere; if that is the judge you mean, use --accept-judge {name}"
    )

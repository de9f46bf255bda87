"""Checks that the model that replies is the model that was requested."""

from __future__ import annotations

import datetime
import re
from collections.abc import Collection
from urllib.parse import urlsplit

from harness.core.terminal import one_line
from harness.errors import JudgeIdentityError, JudgeRefusedError
from harness.judges.client import OpenAIClient
from harness.protocols import JudgeClient

UNNAMED = "unnamed"
"""The name of a model whose server does not report one."""
ALIAS_HOSTS = ("openai.com", "googleapis.com", "anthropic.com")
"""Providers whose model names without a date or a version are aliases."""
NOTICE = datetime.timedelta(days=60)
"""How long before its last day a judge is warned of."""
DATED_NAME = re.compile(r"(-\d{4}-\d{2}-\d{2}|-\d{8}|-\d{4}|-\d{3})(-preview)?$")


def accepted_names(
    model: str, served_as: Collection[str], accepted: Collection[str]
) -> frozenset[str]:
    """Return the model names that the server may reply with."""
    return frozenset({model, *served_as, *accepted})


def served_name(name: str) -> str:
    """Return the name of the model in a reply."""
    return name or UNNAMED


def is_provider(url: str) -> bool:
    """Say whether an address is one of the providers', not a server of the user's own."""
    return (urlsplit(url).hostname or "").endswith(ALIAS_HOSTS)


def is_alias(model: str, url: str) -> bool:
    """Say whether a name is an alias: at its provider, and without a date or a version."""
    return is_provider(url) and not DATED_NAME.search(model)


def retirement(client: JudgeClient) -> OpenAIClient | None:
    """Return when a client's model retires; None where that is unknown, or at another server."""
    if isinstance(client, OpenAIClient) and client.retires and is_provider(client.url):
        return client
    return None


def retirement_note(client: JudgeClient, day: datetime.date | None = None) -> str:
    """Return what is known of a model's end within the next days; empty if that is far."""
    model, day = retirement(client), day or today()
    if model is None or model.retires is None or model.retires - day > NOTICE:
        return ""
    verb = "retired" if model.retires <= day else "retires"
    successor = f"; its provider names {model.replaced_by} instead" if model.replaced_by else ""
    read = f", read on {model.read}" if model.read else ""
    source = f" ({model.source}{read})" if model.source else ""
    return f"{client.model} {verb} on {model.retires}{source}{successor}"


def reject_retired(client: JudgeClient, day: datetime.date | None = None) -> None:
    """Refuse to ask a model after its last day; its stored verdicts still count.

    Raises:
        JudgeRefusedError: it has retired.
    """
    model, day = retirement(client), day or today()
    if model is not None and model.retires is not None and model.retires <= day:
        raise JudgeRefusedError(
            f"{retirement_note(client, day)}: stored verdicts still count, new ones need another "
            "judge (--judge NAME; `harness judge bridge` relates the two), or --base-url where it "
            "is still served; if the date is out of date, --set judge.retires=null"
        )


def today() -> datetime.date:
    """Return today's date in UTC."""
    return datetime.datetime.now(datetime.UTC).date()


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
    name = one_line(name)
    return JudgeIdentityError(
        f"{judge_name} was asked for {model} and served {name}: {count} of its replies are "
        f"quarantined and count nowhere; if that is the judge you mean, use --accept-judge {name}"
    )

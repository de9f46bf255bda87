"""Whether a judge could be asked, looked at before a policy answers or a training samples."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from harness.core.async_bridge import run_coroutine
from harness.core.completion_bodies import load_json
from harness.core.config import Component
from harness.core.http import is_connect_failure
from harness.core.terminal import one_line, shorten
from harness.errors import JudgeError, JudgeRefusedError
from harness.judges import model_check
from harness.judges.client import OpenAIClient
from harness.protocols import JudgeClient
from harness.types import JudgeRequest, Message

if TYPE_CHECKING:
    from openai import AsyncOpenAI

QUESTION = (Message("user", "Answer with the letter A and nothing else."),)
REPLY_TOKENS = 16
"""The length limit of a small call: some servers refuse a limit of one token."""
SHOWN_MODELS = 3
UNLISTED = frozenset({404, 405, 501})
"""Statuses of a server that has no list of models."""


def check_client(client: JudgeClient, accepted: Collection[str]) -> None:
    """Look whether a judge could be asked now.

    A server is asked for its list of models; only where that lacks the judge's is a small call
    made, since some servers take names that they do not list.

    Raises:
        JudgeRefusedError: the model has retired or is not served, or the key is refused.
        JudgeIdentityError: the model's name is an alias.
        JudgeError: there is no key, or the server cannot be reached.
    """
    model_check.reject_retired(client)
    model_check.reject_alias(client.model, client.url, accepted)
    if isinstance(client, OpenAIClient):
        run_coroutine(_check_server(client))
    elif isinstance(client, Component):
        client.check_ready()


async def _check_server(judge: OpenAIClient) -> None:
    import openai

    async with judge.connect(lambda _: None) as server:
        try:
            listed = _models(await server.get("/models", cast_to=str))
        except openai.APIStatusError as error:
            if error.status_code == 401:
                raise _key_error(judge, error) from error
            listed = []
            if error.status_code in UNLISTED or error.status_code >= 500:
                return  # what it lists is not known; it may be well
        except openai.APIConnectionError as error:
            raise _unreachable_error(judge, error) from error
        if (judge.deployment or judge.model) not in listed:
            await _check_call(judge, server, listed)


def _models(listing: str) -> list[str]:
    try:
        return [str(row["id"]) for row in load_json(listing)["data"]]
    except (ValueError, LookupError, TypeError):
        return []


async def _check_call(judge: OpenAIClient, server: AsyncOpenAI, listed: list[str]) -> None:
    """Ask a server for a model that it does not list."""
    import openai

    body = dict(judge.body(JudgeRequest("look", QUESTION, {"max_tokens": REPLY_TOKENS})))
    body["model"] = judge.deployment or judge.model
    try:
        await server.post("/chat/completions", cast_to=str, body=body)
    except openai.APIStatusError as error:
        if error.status_code == 401:
            raise _key_error(judge, error) from error
        if error.status_code == 404 or error.code == "model_not_found":
            known = ", ".join(map(shorten, listed[:SHOWN_MODELS])) or "nothing"
            raise JudgeRefusedError(
                f"{judge.display_name} is not served there: {_reason(judge, error)} (it lists "
                f"{one_line(known)}); name the model that is, with --set judge.model=NAME"
            ) from error
    except openai.APIConnectionError as error:
        raise _unreachable_error(judge, error) from error


def _key_error(judge: OpenAIClient, error: Any) -> JudgeRefusedError:
    return JudgeRefusedError(
        f"{judge.display_name} refuses the key ({_reason(judge, error)}): set {judge.api_key_env}"
    )


def _unreachable_error(judge: OpenAIClient, error: Exception) -> JudgeError:
    reason = "no server listens there" if is_connect_failure(error) else _reason(judge, error)
    return JudgeError(
        f"{judge.display_name} cannot be reached: {reason}; start it first, or name another with "
        "--judge or --base-url (`--judge local` serves itself once the answers are there)"
    )


def _reason(judge: OpenAIClient, error: Exception) -> str:
    return one_line(shorten(judge.secret().redact(str(error))))

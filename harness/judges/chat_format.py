"""The Chat Completions wire format: requests and replies as JSON, and back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from harness.types import Body, JudgeRequest, Message, Reply

TopLogprobs = tuple[tuple[tuple[str, float], ...], ...]


def body_of(model: str, request: JudgeRequest) -> dict[str, Any]:
    """Return the whole request as it is sent; its digest is the key of its verdicts."""
    messages = [m.as_dict() for m in request.messages]
    return {"model": model, "messages": messages, **request.parameters}


def messages_of(body: Body) -> tuple[Message, ...]:
    """Parse the messages of a request.

    Raises:
        ValueError: there are none, or they are not text.
    """
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise ValueError("'messages' must be a list of at least one message")
    for turn in messages:
        is_message = isinstance(turn, dict) and all(
            isinstance(turn.get(key), str) for key in ("role", "content")
        )
        if not is_message:
            raise ValueError("every message needs a 'role' and a 'content', both text")
    return tuple(Message(turn["role"], turn["content"]) for turn in messages)


def reply_of(text: str) -> Reply:
    """Parse a response body.

    Raises:
        ValueError: it is not a chat completion.
    """
    try:
        data = json.loads(text)
        choice = data["choices"][0]
        usage = data.get("usage") or {}
        return Reply(
            content=_text(choice["message"].get("content")),
            top_logprobs=_top_logprobs(choice.get("logprobs")),
            finish_reason=_text(choice.get("finish_reason")),
            model=_text(data.get("model")),
            prompt_tokens=int(usage.get("prompt_tokens") or 0),
            completion_tokens=int(usage.get("completion_tokens") or 0),
        )
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"the body is no chat completion ({type(error).__name__})") from error


def completion_of(reply: Reply, body: Body) -> dict[str, Any]:
    """Return a reply as a response body, with as many log-probabilities as were requested."""
    top_count = int(body.get("top_logprobs") or 0) if body.get("logprobs") else None
    message = {"role": "assistant", "content": reply.content}
    logprobs = None
    if top_count is not None and reply.top_logprobs is not None:
        logprobs = {"content": [_position(tokens, top_count) for tokens in reply.top_logprobs]}
    choice = {
        "index": 0,
        "message": message,
        "finish_reason": reply.finish_reason,
        "logprobs": logprobs,
    }
    usage = {"prompt_tokens": reply.prompt_tokens, "completion_tokens": reply.completion_tokens}
    usage["total_tokens"] = sum(usage.values())
    return {
        "id": "chatcmpl-harness",
        "object": "chat.completion",
        "created": 0,
        "model": reply.model,
        "choices": [choice],
        "usage": usage,
    }


def _text(value: Any) -> str:
    """Return a text field; null is empty."""
    if value is not None and not isinstance(value, str):
        raise TypeError(f"expected text, got {type(value).__name__}")
    return value or ""


def _top_logprobs(logprobs: Any) -> TopLogprobs | None:
    content = (logprobs or {}).get("content")
    if content is None:
        return None
    return tuple(
        tuple((_text(top["token"]), float(top["logprob"])) for top in position["top_logprobs"])
        for position in content
    )


def _position(tokens: Sequence[tuple[str, float]], top_count: int) -> dict[str, Any]:
    top = [{"token": token, "logprob": value, "bytes": None} for token, value in tokens]
    return {**(top[0] if top else {}), "top_logprobs": top[:top_count]}

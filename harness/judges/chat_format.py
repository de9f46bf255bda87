"""The Chat Completions wire format: requests and replies as JSON, and back."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from harness.core.thinking import (
    THINKING,
    begins_to_think,
    part_text,
    read_content,
    read_text,
    split_thinking,
)
from harness.types import Body, JudgeRequest, Message, Reply

TopLogprobs = tuple[tuple[tuple[str, float], ...], ...]
Position = tuple[str, tuple[tuple[str, float], ...]]
"""A token, and the most likely ones in its place."""

BYTE_ORDER_MARK = "\ufeff"
SPECIAL_TOKENS = re.compile(r"(?:<\|[^|>]*\|>|<｜[^｜>]*｜>|</s>|<eos>|<end_of_turn>|\s)+$")
"""At the end of a reply's tokens; the reply's text leaves them out."""
MOST_DIGITS, MOST_TOKENS = 300, 10_000_000
"""Of a number in a reply; what has more is out of range."""


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
    """Parse a response body; what it lacks, or has in another shape, is empty.

    The content is what follows the judge's thought, and the log-probabilities are those of its
    tokens. A number that cannot be is no number: a token count of 0 is not reported, a
    log-probability of NaN is unknown.

    Raises:
        ValueError: it is not a chat completion.
    """
    try:
        data = load_json(text)
        choice = data["choices"][0]
        if not isinstance(choice, dict):
            raise TypeError
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"the body is no chat completion ({type(error).__name__})") from error
    message, usage = _object(choice.get("message")), _object(data.get("usage"))
    content, thought = read_content(message.get("content"))
    beside = thought or "".join(part_text(message.get(key)) for key in THINKING)
    thinking, answer = split_thinking(content)
    positions = _positions(choice.get("logprobs"))
    return Reply(
        content=answer,
        top_logprobs=_answer_logprobs(positions, answer, bool(thinking or beside)),
        finish_reason=_label(choice.get("finish_reason")),
        model=read_text(data.get("model")),
        prompt_tokens=_token_count(usage.get("prompt_tokens")),
        completion_tokens=_token_count(usage.get("completion_tokens")),
        thinking=thinking or beside,
    )


def load_json(text: str) -> Any:
    """Parse a server's JSON, in which a number may have any length and lists any depth.

    Raises:
        ValueError: it is no JSON, or is nested too deeply.
    """
    try:
        return json.loads(text.removeprefix(BYTE_ORDER_MARK), parse_int=_whole_number)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


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


def _whole_number(digits: str) -> int | float:
    return int(digits) if len(digits) <= MOST_DIGITS else math.copysign(math.inf, int(digits[:2]))


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _label(value: Any) -> str:
    return str(value) if isinstance(value, int | float) else read_text(value)


def _number(value: Any) -> float:
    """Return a number, which some servers write as text; NaN if it is none."""
    try:
        return math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return math.nan


def _token_count(value: Any) -> int:
    """Return a reported number of tokens; 0 if it cannot be one."""
    number = _number(value)
    return int(number) if 0 <= number <= MOST_TOKENS else 0


def _positions(logprobs: Any) -> list[Position] | None:
    """Return each position's token with the most likely ones; None if the server reports none."""
    content = _object(logprobs).get("content")
    if not isinstance(content, list):
        return None
    return [
        (
            read_text(position.get("token")),
            tuple(
                (read_text(top.get("token")), _number(top.get("logprob")))
                for top in map(_object, _list(position.get("top_logprobs")))
            ),
        )
        for position in map(_object, content)
    ]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _answer_logprobs(
    positions: Sequence[Position] | None, answer: str, has_thought: bool
) -> TopLogprobs | None:
    """Return the log-probabilities of an answer's tokens: all, unless a thought came before."""
    if positions is None:
        return None
    text = "".join(token for token, _ in positions)
    if not has_thought and not begins_to_think(text):
        return tuple(top for _, top in positions)
    written, wanted = SPECIAL_TOKENS.sub("", text), answer.strip()
    if not wanted or not written.endswith(wanted):
        return ()
    start, end, tops = len(written) - len(wanted), 0, []
    for token, top in positions:
        end += len(token)
        if end > start and end - len(token) < len(written):
            tops.append(top)
    return tuple(tops)


def _position(tokens: Sequence[tuple[str, float]], top_count: int) -> dict[str, Any]:
    top = [{"token": token, "logprob": value, "bytes": None} for token, value in tokens]
    return {**(top[0] if top else {}), "top_logprobs": top[:top_count]}

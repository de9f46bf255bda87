"""The Chat Completions wire format: requests and replies as JSON, and back."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from harness.core.completion_bodies import first_choice, load_body, message_of
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

SPECIAL_TOKENS = re.compile(r"(?:<\|[^|>]*\|>|<｜[^｜>]*｜>|</s>|<eos>|<end_of_turn>|\s)+$")
"""At the end of a reply's tokens; the reply's text leaves them out."""
TOKEN_COUNTS = (
    ("prompt_tokens", "input_tokens"),
    ("completion_tokens", "output_tokens"),
    ("total_tokens",),
)
"""Names of the numbers of tokens: of the prompt, of the completion, of both."""
TOKEN_ID = "token_id:"
"""How vLLM names a token where it was asked for ids; its bytes are beside it."""
MOST_TOKENS = 10_000_000
"""Of a reply or a prompt; a larger number is out of range."""


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
        data = load_body(text)
        choice = first_choice(data)
        message = message_of(choice)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"the body is no chat completion ({type(error).__name__})") from error
    content, thought = read_content(message.get("content"))
    content = content or read_text(message.get("refusal"))
    beside = thought or "".join(part_text(message.get(key)) for key in THINKING)
    thinking, answer = split_thinking(content)
    positions = _positions(choice.get("logprobs") or message.get("logprobs"))
    prompt_tokens, completion_tokens = _usage(_object(data.get("usage")))
    return Reply(
        content=answer,
        top_logprobs=_answer_logprobs(positions, answer, bool(thinking or beside)),
        finish_reason=_label(choice.get("finish_reason")),
        model=read_text(data.get("model")),
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        thinking=thinking or beside,
    )


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


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _usage(usage: Mapping[str, Any]) -> tuple[int, int]:
    """Return the tokens of prompt and completion, under either of the names that are in use.

    Some servers leave the thought out of the completion's tokens, and count it in the total.
    """
    prompt, completion, total = (
        next(filter(None, (_token_count(usage.get(name)) for name in names)), 0)
        for names in TOKEN_COUNTS
    )
    if not prompt:
        return max(0, total - completion) if completion else 0, completion
    return prompt, max(completion, total - prompt)


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
    content = logprobs if isinstance(logprobs, list) else _object(logprobs).get("content")
    if not isinstance(content, list):
        content = _legacy_positions(_object(logprobs))
    if content is None:
        return None
    return [
        (_token(position), _top(position.get("top_logprobs"))) for position in map(_object, content)
    ]


def _legacy_positions(logprobs: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """Return the positions as the older Completions API has them: in parallel lists."""
    tokens, tops = logprobs.get("tokens"), logprobs.get("top_logprobs")
    if not isinstance(tokens, list) or not isinstance(tops, list):
        return None
    return [{"token": t, "top_logprobs": top} for t, top in zip(tokens, tops, strict=False)]


def _top(value: Any) -> tuple[tuple[str, float], ...]:
    """Return the most likely tokens; some servers give an object with a number a token."""
    if isinstance(value, Mapping):
        return tuple((read_text(token), _number(logprob)) for token, logprob in value.items())
    return tuple((_token(top), _number(top.get("logprob"))) for top in map(_object, _list(value)))


def _token(top: Mapping[str, Any]) -> str:
    """Return a token's text; where the server gives an id or nothing, its bytes say it."""
    text, codes = read_text(top.get("token")), top.get("bytes")
    if (text and not text.startswith(TOKEN_ID)) or not isinstance(codes, list):
        return text
    try:
        return bytes(codes).decode("utf-8", "replace") or text
    except (TypeError, ValueError):
        return text


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

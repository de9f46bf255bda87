"""Whether the token counts that a server reports can be: what cannot be is counted here instead.

A prompt has at most a token a byte, and a reply no more than its limit allows, each with room for a
template or a thought; and a token is never longer than a line of text.
"""

from __future__ import annotations

from dataclasses import dataclass

from harness.types import Body, Reply

TEMPLATE_TOKENS = 4096
"""Room for what a server adds to a prompt or a reply: a template, its own instructions."""
LONGEST_THOUGHT = 131_072
"""Tokens of the longest reply with a thought, which some servers do not hold to the limit."""
CHARACTERS_PER_TOKEN = 32
"""Of the longest tokens of an ordinary text, on average; what has more is reported too low."""


@dataclass(frozen=True, slots=True)
class ReportedUsage:
    """Reported token counts; 0 where none was reported, or one that cannot be."""

    prompt: int
    completion: int


def believed_usage(body: Body, reply: Reply) -> ReportedUsage:
    """Return the token counts of a reply that can be."""
    prompt = "".join(message["content"] for message in body["messages"])
    most = len(prompt.encode(errors="replace")) + TEMPLATE_TOKENS
    text = reply.thinking + reply.content
    return ReportedUsage(
        _believed(reply.prompt_tokens, prompt, most),
        _believed(reply.completion_tokens, text, _longest_reply(body, reply)),
    )


def _believed(count: int, text: str, most: int) -> int:
    return count if len(text) / CHARACTERS_PER_TOKEN <= count <= most else 0


def _longest_reply(body: Body, reply: Reply) -> int:
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    if reply.thinking or not limit:
        return max(LONGEST_THOUGHT, 2 * int(limit or 0))
    return 2 * int(limit) + TEMPLATE_TOKENS

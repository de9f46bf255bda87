"""Why the replies of a judge cannot be parsed: what came, and what to set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from harness.core.terminal import shorten
from harness.errors import CheckError
from harness.types import Body, ParsedVerdict, Reply

TOKENS_SHOWN = 5
NO_LOGPROBS = "no log-probabilities, although they were requested"
NO_TOP_LOGPROBS = "log-probabilities without the likeliest tokens (top_logprobs)"
ANOTHER_JUDGE = (
    "name a judge that gives them with --judge (`harness judge doctor` shows what a server gives)"
)
THINK_LESS = (
    "give it room with --set judge.parameters.max_tokens=N, or keep it from thinking, e.g. with "
    "--set judge.parameters.reasoning_effort=none or "
    "--set judge.parameters.chat_template_kwargs.enable_thinking=false"
)
MORE_TOKENS = "give it more room with --set judge.parameters.max_tokens=N"
ANY_SPELLING = "count them as the labels with --set any_spelling=true, or name another judge"
OTHER = "name a judge that fits the protocol with --judge"


def unparsed_error(
    judge_name: str, replies: Sequence[tuple[Body, Reply, ParsedVerdict | None]]
) -> CheckError:
    """Return the error of a judge none of whose first replies can be used.

    Args:
        judge_name: the judge and its address.
        replies: requests, the replies to them, and what was parsed of each.
    """
    causes = Counter(describe(*reply) for reply in replies)
    (cause, remedy), count = causes.most_common(1)[0]
    others = f" ({count} of them)" if count < len(replies) else ""
    return CheckError(
        f"none of the first {len(replies)} replies of {judge_name} can be parsed: it gives "
        f"{cause}{others}; {remedy}. The others were not asked"
    )


def describe(body: Body, reply: Reply, parsed: ParsedVerdict | None = None) -> tuple[str, str]:
    """Return what came in place of a verdict, and what to set."""
    if reply.is_filtered:
        return "replies that a content filter ended", OTHER
    if reply.thinking and not reply.content.strip():
        return "a thought that does not end before the token limit", THINK_LESS
    if body.get("logprobs"):
        return _describe_tokens(reply, parsed)
    if not reply.content.strip() and not reply.is_complete:
        return "no text before the token limit, as after a thought that is not shown", THINK_LESS
    if not reply.content.strip():
        return f"no text (finish reason {reply.finish_reason or 'none'})", OTHER
    if not reply.is_complete:
        return "judgments that are cut off at the token limit", MORE_TOKENS
    return f"no verdict, but e.g. {shorten(reply.content)!r}", OTHER


def _describe_tokens(reply: Reply, parsed: ParsedVerdict | None) -> tuple[str, str]:
    if reply.top_logprobs is None:
        return NO_LOGPROBS, ANOTHER_JUDGE
    if not any(reply.top_logprobs):
        return NO_TOP_LOGPROBS, ANOTHER_JUDGE
    tokens = [repr(token) for token, _ in reply.top_logprobs[0][:TOKENS_SHOWN]]
    remedy = OTHER if parsed is None else ANY_SPELLING
    return (
        f"the tokens {', '.join(tokens)}, none of which is a label as the protocol spells it",
        remedy,
    )

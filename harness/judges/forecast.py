"""What asking a judge will take: calls, tokens, dollars, minutes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.judges.ledger import WORDY
from harness.judges.prices import Price
from harness.judges.store import VerdictStore, usable
from harness.judges.tokens import Count, counter
from harness.judges.wire import Body
from harness.types import Forecast

MESSAGE_TOKENS, REPLY_TOKENS = 3, 3
"""What the Chat Completions format adds to every message, and to open the reply."""
CALL_SECONDS, TOKEN_SECONDS = 1.0, 0.02
"""A call's length until some are known: to the first token, and for every one."""
SAMPLE = 500
"""How many stored replies the guesses rest on."""
KNOWN = """
SELECT call.completion_tokens, call.seconds FROM call JOIN attempt ON attempt.key = call.key
WHERE call.model = ? AND call.outcome IN ('read', 'unread') AND coalesce(
  json_extract(attempt.request, '$.max_completion_tokens'),
  json_extract(attempt.request, '$.max_tokens')) IS ?
ORDER BY call.rowid DESC LIMIT ?
"""


def forecast(
    bodies: Sequence[Body],
    price: Price | None,
    concurrency: int,
    store: VerdictStore | None,
    *,
    batched: bool = False,
) -> Forecast:
    """Say what asking these requests will take.

    Raises:
        StoreError: the store cannot be read.
    """
    if not bodies:
        return Forecast(0, 0, 0, 0.0 if price else None, 0.0, "nothing is to be asked")
    count, how = counter(str(bodies[0]["model"]))
    prompt = sum(prompt_tokens(body, count) for body in bodies)
    known = _known(bodies[0], store)
    said, told = _reply_tokens(bodies[0], known)
    took = [seconds for _, seconds in known if seconds is not None]
    seconds = sum(took) / len(took) if took else CALL_SECONDS + said * TOKEN_SECONDS
    completion = round(said * len(bodies))
    dollars = price.dollars(prompt, completion, batched=batched) if price else None
    timed = f"{seconds:.1f} s a call {'as before' if took else 'assumed'}"
    return Forecast(
        calls=len(bodies),
        prompt_tokens=prompt,
        completion_tokens=completion,
        dollars=dollars,
        minutes=len(bodies) * seconds / min(concurrency, len(bodies)) / 60,
        grounds=f"prompts counted by {how}; {told}; {timed}, {concurrency} at a time",
        price=price.told if price else "",
        doubt=price.doubt() if price else "",
    )


def prompt_tokens(body: Body, count: Count) -> int:
    """Return the tokens of a request as it is billed."""
    told = sum(count(m["content"]) + count(m["role"]) for m in body["messages"])
    return told + MESSAGE_TOKENS * len(body["messages"]) + REPLY_TOKENS


def _known(body: Body, store: VerdictStore | None) -> list[tuple[int, float | None]]:
    """Return tokens and seconds of stored replies to requests of the same kind."""
    if store is None:
        return []
    asked = (body["model"], _limit(body), SAMPLE)
    with usable(store.path):
        found: list[Any] = store.connection.execute(KNOWN, asked).fetchall()
    return found


def _limit(body: Body) -> Any:
    return body.get("max_completion_tokens") or body.get("max_tokens")


def _reply_tokens(body: Body, known: Sequence[tuple[int, float | None]]) -> tuple[float, str]:
    limit = _limit(body)
    if known:
        usual = sum(tokens for tokens, _ in known) / len(known)
        return usual, f"replies of {usual:.0f} tokens as before"
    if limit is not None and limit < WORDY:
        return float(limit), f"replies of {limit} tokens, the most they may have"
    return float(WORDY), f"replies of {WORDY} tokens assumed: none is stored to go by"

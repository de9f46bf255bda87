"""What became of an iteration's prompts: what is dropped, and warnings with the cause."""

from __future__ import annotations

from collections.abc import Mapping

from harness.errors import CheckError
from harness.training.dropped import LOGGER, DropTable
from harness.training.spec import TrainSpec

TRUNCATED, IDENTICAL, UNDECIDED = "truncated", "identical", "undecided"
TOO_LONG, NO_TOKENS = "too long", "without tokens"
FEW_PAIRS = 100
"""Fewer pairs are worth a warning, where more were asked for: a handful of steps, whose noise
decides the result."""
MANY_LOST = 0.5
"""More were asked for where a larger share of the prompts gives no pair."""
FEW_KEPT = 0.1
"""Likewise a smaller share of the prompts."""
MANY_TRUNCATED = 0.2
"""Likewise a larger share of the responses that are cut off: the long ones never win."""


def report(spec: TrainSpec, t: int, counts: Mapping[str, int], dropped: DropTable) -> None:
    """Log what is dropped on the way from the prompts of iteration t to its pairs.

    Raises:
        CheckError: no pair is left; the message names the largest cause.
    """
    prompts, retained = counts["prompts"], counts.get("kept", 0)
    if not retained:
        summary = ", ".join(f"{name} {count}" for name, count in counts.items() if count)
        raise CheckError(f"iteration {t} has no training pair ({summary}): {_cause(spec, dropped)}")
    dropped.report(f"pairs of iteration {t}", retained + dropped.count)
    asked = prompts - counts.get("held out", 0)
    few = retained < FEW_PAIRS and retained < (1 - MANY_LOST) * asked
    if few or retained < FEW_KEPT * prompts:
        why = f": {_cause(spec, dropped)}" if dropped.count else ""
        LOGGER.warning(
            "warning: iteration %d has only %d pairs of %d prompts%s", t, retained, prompts, why
        )
    responses = (prompts - counts.get("held out", 0)) * spec.samples
    if counts.get("truncated", 0) > MANY_TRUNCATED * responses:
        LOGGER.warning(
            "warning: %d of %d responses of iteration %d are %s",
            counts["truncated"],
            responses,
            t,
            _remedies(spec)[TRUNCATED],
        )


def _cause(spec: TrainSpec, dropped: DropTable) -> str:
    """Return the largest cause in words, with the setting that mends it."""
    if not dropped.rows:
        return "all prompts are held out: lower head_to_head_prompts"
    largest = dropped.rows[0]
    return f"{largest.count} times {_remedies(spec)[largest.reason]}"


def _remedies(spec: TrainSpec) -> Mapping[str, str]:
    limit = spec.sampling.max_tokens
    return {
        TRUNCATED: f"cut off at sampling.max_tokens={limit} (truncated): raise it, or set "
        "keep_truncated=true",
        IDENTICAL: "two responses are the same: raise sampling.temperature or samples",
        UNDECIDED: "the oracle decides nothing; look at the oracle and pairing.margin",
        TOO_LONG: f"a prompt and its response are longer than max_length={spec.max_length} "
        "tokens (too long): raise it",
        NO_TOKENS: "the engine gives no token ids (a remote server); look at the engine",
    }

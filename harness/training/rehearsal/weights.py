"""What a model's folder must hold to be scored: finite weights, and a row for every token."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from harness.core.hub import end_token_ids
from harness.errors import PolicyError
from harness.types import Policy

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def check_finite(policy: Policy, model: PreTrainedModel) -> None:
    """Check that no weight is NaN or infinite.

    Raises:
        PolicyError: one is; the message names its tensor.
    """
    wrong = [
        (name, int((~tensor.isfinite()).sum()))
        for name, tensor in model.state_dict().items()
        if tensor.is_floating_point() and not bool(tensor.isfinite().all())
    ]
    if wrong:
        name, count = wrong[0]
        more = f", and of {len(wrong) - 1} more tensors" if len(wrong) > 1 else ""
        raise PolicyError(
            f"{count} numbers of {name}{more} in the weights of {policy.path} are not finite: the "
            "training that wrote them diverged, or the file is damaged; take another checkpoint"
        )


def check_vocabulary(
    policy: Policy,
    tokenizer: PreTrainedTokenizerBase,
    model: PreTrainedModel,
    token_rows: Iterable[Sequence[int]],
) -> None:
    """Check that every token of these rows, and every end of a turn, has a row in the weights.

    They are read only if the tokenizer has tokens without a row: many have some, and never write
    them.

    Raises:
        PolicyError: a token has none.
    """
    rows = len(model.get_input_embeddings().weight)
    names = {index: token for token, index in tokenizer.get_vocab().items() if index >= rows}
    used = set(end_token_ids(tokenizer, policy))
    if names:
        used.update(token for row in token_rows for token in row)
    beyond = sorted(index for index in used if index >= rows)
    if beyond:
        raise PolicyError(
            f"the tokenizer of {policy.path} uses the token {names.get(beyond[0])!r} "
            f"({beyond[0]}), and the weights have {rows} embedding rows: save the model after "
            f"resize_token_embeddings({max(*beyond, *names) + 1}), or take the tokenizer that "
            "belongs to the weights"
        )

"""What a rehearsal is done on: a prompt of each form, or a data set's pairs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.core.hub import render_conversation
from harness.training import records
from harness.types import Message, Pair, Prompt

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

QUESTION = Prompt("rehearsal", (Message("user", "What is two and two?"),))
"""Asked where a method has no prompts of its own."""
PROMPTS, PAIRS = "prompts-", "pairs-"
"""Begin the names of a rehearsal's inputs, one an iteration."""


@dataclass(frozen=True)
class TrainingData:
    """The prompts of all iterations, and a data set's pairs, of which either may be empty."""

    prompts: Sequence[Prompt]
    pairs: Sequence[Pair]

    def rows(self, tokenizer: PreTrainedTokenizerBase) -> Iterator[Sequence[int]]:
        """Yield every prompt's and every pair's tokens; a prompt is rendered as it is reached."""
        for prompt in self.prompts:
            yield render_conversation(tokenizer, prompt.messages).token_ids
        for pair in self.pairs:
            yield from (pair.prompt_ids, pair.chosen_ids, pair.rejected_ids)

    def few_prompts(self, tokenizer: PreTrainedTokenizerBase, count: int) -> list[Sequence[int]]:
        """Return the tokens of at most so many prompts, one of each form, or of the first pairs."""
        if self.pairs and not self.prompts:
            return [pair.prompt_ids for pair in self.pairs[:count]]
        prompts = first_of_each_form(self.prompts or [QUESTION])[:count]
        return [render_conversation(tokenizer, prompt.messages).token_ids for prompt in prompts]


def read_data(inputs: Mapping[str, str]) -> TrainingData:
    """Read the inputs of a rehearsal: directories by name."""
    names = sorted(inputs)
    return TrainingData(
        [p for n in names if n.startswith(PROMPTS) for p in records.read_prompts(inputs[n])],
        [p for n in names if n.startswith(PAIRS) for p in records.read_pairs(inputs[n])],
    )


def first_of_each_form(prompts: Sequence[Prompt]) -> list[Prompt]:
    """Return the first prompt of each sequence of roles: a template takes all of a form or none."""
    by_roles: dict[tuple[str, ...], Prompt] = {}
    for prompt in prompts:
        by_roles.setdefault(tuple(m.role for m in prompt.messages), prompt)
    return list(by_roles.values())

"""Pairs of a data set as token ids: rendered by the policy's chat template, tokenised once.

A prompt is tokenised as for sampling, a response as what follows it there, up to and with the end
of the turn: what a template writes after that is never sampled. Prompt and response are tokenised
apart, as they are when a policy samples.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.core.hub import (
    configured_context_length,
    end_token_ids,
    load_tokenizer,
    render_answer,
    render_conversation,
    template_end_token_id,
)
from harness.core.io import write_atomically
from harness.core.seeds import canonical_json
from harness.errors import CheckError, InputError, PolicyError
from harness.training import records
from harness.training.preference_rows import LeftOutError, PreferenceRow
from harness.training.preferences import PreferenceSelection
from harness.training.prompt_selection import PromptSelection, context_limit, that_fit
from harness.training.rollout import exclusion_reason
from harness.training.spec import TrainSpec
from harness.types import Completion, Message, Pair, Policy, Prompt, Track

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

NOT_RENDERED, END_INSIDE = "not in the chat template", "an end of turn inside a response"
REPEATED_PROMPT = "repeated prompt"


@dataclass(frozen=True)
class PairTokeniser:
    """A policy's chat template and tokenizer, applied to pairs."""

    tokenizer: PreTrainedTokenizerBase
    end_ids: Sequence[int]
    """The tokens that end a turn."""
    end_id: int | None
    """The one that ends a turn where the template writes none."""

    @classmethod
    def of(cls, policy: Policy) -> PairTokeniser:
        """Return the one of a policy.

        Raises:
            PolicyError: the policy has no usable tokenizer or chat template.
        """
        tokenizer = load_tokenizer(policy)
        end_id = template_end_token_id(tokenizer) or tokenizer.eos_token_id
        return cls(tokenizer, end_token_ids(tokenizer, policy), end_id)

    def tokenise(self, row: PreferenceRow) -> Pair:
        """Return a pair as token ids.

        Raises:
            LeftOutError: the template refuses the prompt, or a response holds an end of turn.
        """
        messages = row.prompt.messages
        try:
            prompt = render_conversation(self.tokenizer, messages)
            chosen, rejected = (
                self._response(messages, prompt.text, text) for text in (row.chosen, row.rejected)
            )
        except PolicyError as error:
            raise LeftOutError(NOT_RENDERED) from error
        return Pair(
            row.prompt.id,
            prompt.token_ids,
            chosen,
            rejected,
            probability=row.probability,
            rewards=row.scores,
        )

    def _response(
        self, messages: Sequence[Message], prompt_text: str, answer: str
    ) -> tuple[int, ...]:
        """Return an answer's tokens with the token that ends the turn."""
        text = render_answer(self.tokenizer, messages, answer)
        tail = text[len(prompt_text) :] if text.startswith(prompt_text) else answer
        ids: list[int] = self.tokenizer(tail, add_special_tokens=False)["input_ids"]
        ends = [position for position, token in enumerate(ids) if token in self.end_ids]
        if not ends:
            return (*ids, *([] if self.end_id is None else [self.end_id]))
        after = self.tokenizer.decode(ids[ends[0] :], skip_special_tokens=True)
        if after.strip():
            raise LeftOutError(END_INSIDE)
        return tuple(ids[: ends[0] + 1])


def read_pairs(spec: TrainSpec, t: int, out: Path, inputs: Mapping[str, str], track: Track) -> None:
    """Write iteration t's pairs of a data set as token ids, its prompts, and what is dropped.

    Raises:
        CheckError: no pair is left.
        InputError: the data cannot be read.
        PolicyError: the policy has no usable tokenizer or chat template.
    """
    policy = spec.policy.with_weights(inputs["policy"])
    selection = selected(spec, t)
    if "rewards" in spec.reads:
        check_scores(selection)
    context = configured_context_length(policy)
    limit = min(spec.max_length, context or spec.max_length)
    pairs, prompts = list[Pair](), dict[str, Prompt]()
    with track(f"iteration {t} · read pairs", len(selection.rows)) as advance:
        for row, pair in tokenised(selection, policy, limit):
            prompts[row.prompt.id] = row.prompt
            pairs.append(pair)
            advance(1)
    dropped = selection.dropped
    total = len(pairs) + dropped.count
    if not pairs:
        raise CheckError(
            f"iteration {t} has no training pair (of {total} rows {dropped.largest()}); "
            f"max_length={spec.max_length} tokens is the most for a prompt with a response"
        )
    dropped.report(f"pairs of iteration {t}", total)
    records.write_prompts(out, list(prompts.values()))
    records.write_pairs(out, pairs)
    dropped.write(out)
    counts = Counter(prompts=len(prompts), kept=len(pairs))
    counts.update({row.reason: row.count for row in dropped.rows})
    write_atomically(out / "counts.json", canonical_json(dict(counts)))


def selected(spec: TrainSpec, t: int) -> PreferenceSelection:
    """Return the rows of iteration t: its part of the data set.

    Raises:
        ConfigError: no data set is named.
        InputError: the data cannot be read, or hold too few pairs.
    """
    if spec.pairs is None:
        raise InputError("the configuration names no pairs: add --set pairs.path=FILE")
    return spec.pairs.select(t, spec.pair_iterations)


def check_scores(selection: PreferenceSelection) -> None:
    """Refuse pairs without scores for an objective that reads rewards.

    Raises:
        InputError: a pair has none.
    """
    without = [row for row in selection.rows if row.scores is None]
    if without:
        raise InputError(
            f"the objective reads rewards, and {len(without)} of {len(selection.rows)} pairs have "
            "no scores: name their columns with --set pairs.columns.score_chosen=COLUMN and "
            "pairs.columns.score_rejected"
        )


def tokenised(
    selection: PreferenceSelection, policy: Policy, limit: int
) -> Iterator[tuple[PreferenceRow, Pair]]:
    """Yield the rows with their pairs; those that cannot be trained on are counted as dropped."""
    tokeniser, dropped = PairTokeniser.of(policy), selection.dropped
    for row in selection.rows:
        try:
            pair = tokeniser.tokenise(row)
        except LeftOutError as error:
            dropped.add(str(error), row.prompt.text)
            continue
        if reason := exclusion_reason(pair, limit):
            dropped.add(reason, row.prompt.text)
        else:
            yield row, pair


def read_responses(
    spec: TrainSpec, t: int, out: Path, inputs: Mapping[str, str], track: Track
) -> None:
    """Write the prompts of iteration t's rows, each once, and the responses beside them.

    The chosen response follows the policy's own samples, whose indices begin at 0; then, if both
    are candidates, the rejected one.

    Raises:
        InputError: the data cannot be read, or no prompt is left.
        PolicyError: the policy has no usable tokenizer or chat template.
    """
    policy, rows = spec.policy.with_weights(inputs["policy"]), selected(spec, t)
    pairs = dict[str, tuple[PreferenceRow, Pair]]()
    with track(f"iteration {t} · read responses", len(rows.rows)) as advance:
        for row, pair in tokenised(rows, policy, spec.max_length):
            if row.prompt.id in pairs:
                rows.dropped.add(REPEATED_PROMPT, row.prompt.text)
            pairs.setdefault(row.prompt.id, (row, pair))
            advance(1)
    selection = that_fit(
        PromptSelection([row.prompt for row, _ in pairs.values()], rows.dropped),
        policy,
        limit=context_limit(spec.engine),
        drop_bad=True,
    )
    selection.dropped.report(f"prompts of iteration {t}", selection.total)
    selection.dropped.write(out)
    records.write_prompts(out, selection.prompts)
    records.write_responses(
        out, [r for p in selection.prompts for r in _responses(spec, t, *pairs[p.id])]
    )


def _responses(spec: TrainSpec, t: int, row: PreferenceRow, pair: Pair) -> list[Completion]:
    both = ((row.chosen, pair.chosen_ids), (row.rejected, pair.rejected_ids))
    return [
        _completion(pair.prompt_id, spec.samples + number, text, pair.prompt_ids, ids)
        for number, (text, ids) in enumerate(both[: spec.data_responses(t)])
    ]


def _completion(
    key: str, index: int, text: str, prompt: tuple[int, ...], tokens: tuple[int, ...]
) -> Completion:
    return Completion(key, index, text, prompt, tokens, finish_reason="stop", seed=0)

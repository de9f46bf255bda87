"""Which prompts of a file or data set are trained on: unusable and repeated ones are dropped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from harness.core.hub import configured_context_length, load_tokenizer, render_conversation
from harness.errors import InputError, PolicyError
from harness.training.conversations import UnusableRowError, read_prompt
from harness.training.dropped import LOGGER, DropTable
from harness.training.prompt_rows import PromptRow, unusable_rows
from harness.types import Policy, Prompt

REPEATED, REPEATED_ID, UNUSABLE = "repeated", "repeated id", "unusable"
TOO_LONG, NOT_RENDERED = "longer than the context", "not in the chat template"


@dataclass(frozen=True)
class PromptSelection:
    """The prompts of an iteration, and what was dropped on the way."""

    prompts: Sequence[Prompt]
    dropped: DropTable = field(default_factory=DropTable)

    @property
    def total(self) -> int:
        """How many there were."""
        return len(self.prompts) + self.dropped.count


@runtime_checkable
class SelectsPrompts(Protocol):
    """A source of prompts that tells what it drops."""

    drop_bad: bool
    """Whether prompts that cannot be used are dropped and counted; otherwise they are refused."""

    def select(self, iteration: int) -> PromptSelection:
        """Return the prompts of an iteration, counted from 1, and what was dropped."""


@runtime_checkable
class LimitsContext(Protocol):
    """An engine that may take fewer tokens than the policy's context."""

    max_model_len: int | None
    """The most tokens of prompt and response together; None: the policy's context."""


def context_limit(engine: object) -> int | None:
    """Return the most tokens that an engine takes; None: as many as the policy's context."""
    return engine.max_model_len if isinstance(engine, LimitsContext) else None


def select_rows(
    rows: Iterable[PromptRow],
    owner: str,
    *,
    column: str | None = None,
    drop_bad: bool = False,
    count: int | None = None,
    start: int = 0,
) -> PromptSelection:
    """Return `count` different prompts of rows.

    Args:
        rows: all rows.
        owner: the file or data set, for messages.
        column: the one that holds the prompt; None: the first known one that a row has.
        drop_bad: whether unusable rows are dropped and counted; else they are refused.
        count: None: all.
        start: how many different prompts are skipped before.

    Raises:
        InputError: a row is unusable, or no prompt is left.
    """
    unique = _UniquePrompts(skipped=start)
    bad: list[str] = []
    for row in rows:
        if count is not None and len(unique.prompts) == count:
            break
        try:
            unique.add(row, column)
        except UnusableRowError as error:
            bad.append(f"{row.location}: {error}")
    if bad and not drop_bad:
        raise InputError(unusable_rows(owner, bad, "prompts"))
    for line in bad:
        unique.dropped.add(UNUSABLE, line)
    if not unique.prompts:
        raise InputError(_nothing(owner, unique.dropped, start))
    if unique.cut:
        LOGGER.info(
            "%s: %d of %d conversations end with the assistant: its last turn is cut off, and the "
            "policy answers the user's",
            owner,
            unique.cut,
            len(unique.prompts),
        )
    return PromptSelection(unique.prompts, unique.dropped)


@dataclass
class _UniquePrompts:
    """Different prompts, after some that are skipped."""

    skipped: int
    prompts: list[Prompt] = field(default_factory=list)
    dropped: DropTable = field(default_factory=DropTable)
    cut: int = 0
    """Of how many prompts the assistant's last turn was cut off."""
    _texts: set[object] = field(default_factory=set)
    _ids: set[str] = field(default_factory=set)

    def add(self, row: PromptRow, column: str | None) -> None:
        """Add the prompt of a row, unless it is repeated or to be skipped."""
        if row.problem:
            raise UnusableRowError(row.problem)
        prompt, was_cut = read_prompt(row.value, column)
        reason = self._repetition(prompt)
        if self.skipped:
            self.skipped -= not reason
        elif reason:
            self.dropped.add(reason, f"{row.location}: {prompt.text}")
        else:
            self.prompts.append(prompt)
            self.cut += was_cut

    def _repetition(self, prompt: Prompt) -> str:
        is_repeated, has_id = prompt.messages in self._texts, prompt.id in self._ids
        self._texts.add(prompt.messages)
        self._ids.add(prompt.id)
        return REPEATED if is_repeated else REPEATED_ID if has_id else ""


def _nothing(owner: str, dropped: DropTable, start: int) -> str:
    if start:
        return (
            f"{owner} has no prompt after the first {start} different ones: lower prompts.count or "
            "iterations, or set prompts.successive=false"
        )
    if not dropped.count:
        return f"{owner} is empty: it holds no prompt"
    row = dropped.rows[0]
    return f"{owner} holds no prompt: all {dropped.count} rows are dropped ({row.example})"


def without_repeated_ids(selection: PromptSelection) -> PromptSelection:
    """Drop the prompts whose id an earlier one has: what is sampled is known by it."""
    earlier, retained, dropped = set[str](), list[Prompt](), DropTable(selection.dropped.rows)
    for prompt in selection.prompts:
        if prompt.id in earlier:
            dropped.add(REPEATED_ID, f"{prompt.id}: {prompt.text}")
        else:
            retained.append(prompt)
        earlier.add(prompt.id)
    return PromptSelection(retained, dropped)


def that_fit(
    selection: PromptSelection, policy: Policy, limit: int | None, drop_bad: bool
) -> PromptSelection:
    """Drop the prompts that leave a policy's context no room for a response.

    Args:
        selection: the prompts.
        policy: its chat template renders them.
        limit: the most tokens that the engine takes, if these are fewer than the context.
        drop_bad: whether prompts that the template refuses are dropped; else they are refused.

    Raises:
        InputError: the template refuses a prompt, or no prompt is left.
        PolicyError: the policy has no usable configuration, tokenizer or chat template.
    """
    tokenizer, lengths = load_tokenizer(policy), (limit, configured_context_length(policy))
    context = min((length for length in lengths if length is not None), default=None)
    retained, dropped = list[Prompt](), DropTable(selection.dropped.rows)
    for prompt in selection.prompts:
        example = f"{prompt.id}: {prompt.text}"
        try:
            size = len(render_conversation(tokenizer, prompt.messages).token_ids)
        except PolicyError as error:
            if not drop_bad:
                raise InputError(
                    f"prompt {prompt.id!r}: {error}, or drop such prompts with "
                    "--set prompts.drop_bad=true"
                ) from error
            dropped.add(NOT_RENDERED, example)
            continue
        if context is not None and size >= context:
            dropped.add(TOO_LONG, f"{size} of {context} tokens: {example}")
        else:
            retained.append(prompt)
    if not retained:
        raise InputError(
            f"no prompt is left to sample from ({dropped.largest()}, {dropped.rows[0].example}); "
            f"{policy.path} has a context of {context} tokens"
        )
    return PromptSelection(retained, dropped)

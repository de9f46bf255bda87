"""The prompts of a rehearsal: one of each form, whatever the method's prompts are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.training import records
from harness.types import Message, Prompt

QUESTION = Prompt("rehearsal", (Message("user", "What is two and two?"),))
"""Asked where a method has no prompts of its own."""
PREFIX = "prompts-"
"""Begins the names of a rehearsal's inputs with prompts: one an iteration."""


def read_prompts(inputs: Mapping[str, str]) -> list[Prompt]:
    """Return the prompts in the inputs of a rehearsal, of all iterations; at least one."""
    names = sorted(name for name in inputs if name.startswith(PREFIX))
    return [p for name in names for p in records.read_prompts(inputs[name])] or [QUESTION]


def first_of_each_form(prompts: Sequence[Prompt]) -> list[Prompt]:
    """Return the first prompt of each sequence of roles: a template takes all of a form or none."""
    by_roles: dict[tuple[str, ...], Prompt] = {}
    for prompt in prompts:
        by_roles.setdefault(tuple(m.role for m in prompt.messages), prompt)
    return list(by_roles.values())

"""A micro-batch that does not fit the memory, told with a budget that does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from harness.errors import HarnessError


@dataclass
class Memory:
    """What a training has found out about how many tokens fit."""

    fitted: int = 0
    """The most tokens that a micro-batch has had so far."""

    @contextmanager
    def holding(self, tokens: int, items: int) -> Iterator[None]:
        """Turn a lack of memory within the context into an error that names a budget.

        Raises:
            HarnessError: the device's memory was not enough.
        """
        try:
            yield
        except RuntimeError as error:
            if not _is_full(error):
                raise
            raise HarnessError(self._advice(tokens, items)) from error
        self.fitted = max(self.fitted, tokens)

    def _advice(self, tokens: int, items: int) -> str:
        told = f"out of memory: {items} items of {tokens} tokens in all do not fit"
        if items == 1 and self.fitted < tokens:
            return (
                f"{told}: lower max_length, or --set optimiser.gradient_checkpointing=true, "
                "or train adapters with --set 'optimiser.lora={rank: 16}'"
            )
        fits = self.fitted or tokens // 2
        why = "fitted" if self.fitted else "is half of it"
        return f"{told}: run again with --set optimiser.micro_tokens={fits}, which {why}"


def _is_full(error: RuntimeError) -> bool:
    """Say whether torch has found no memory; on a processor it tells that in words only."""
    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)

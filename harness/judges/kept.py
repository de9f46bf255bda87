"""A judge with its memory as a component: what a configuration names where it wants a judge."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from harness.config import Component
from harness.judges.client import OpenAIJudge
from harness.judges.stored import StoredJudge
from harness.protocols import Advance, Reader
from harness.types import JudgeRequest, Verdict


class KeptJudge(Component):
    """Implements `harness.protocols.Judge`; verdicts are kept in a file, asked for only once."""

    client: OpenAIJudge
    store: Path = Field(exclude=True)
    """The verdict store's file; where verdicts are kept does not change what they say."""

    @property
    def model(self) -> str:
        """The judge as it is asked for."""
        return self.client.model

    def judge(
        self, requests: Sequence[JudgeRequest], reader: Reader, advance: Advance
    ) -> list[Verdict]:
        """Return one verdict a request, in order; one that could not be read has no reading.

        Raises:
            JudgeError: the judge cannot be reached, or refuses for good.
            StoreError: the store cannot be used.
        """
        self.store.parent.mkdir(parents=True, exist_ok=True)
        return StoredJudge(self.client, self.store).judge(requests, reader, advance)

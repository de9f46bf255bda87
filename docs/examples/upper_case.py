"""An engine that repeats the prompt in capitals."""

from collections.abc import Sequence

from harness.core.config import Component
from harness.protocols import Advance, Sampling
from harness.types import Completion, Policy, Request


class UpperCase(Component):
    """Answers every prompt with its text in capitals."""

    def generate(
        self, policy: Policy, requests: Sequence[Request], sampling: Sampling, advance: Advance
    ) -> list[Completion]:
        """Return n completions per request, in order."""
        advance(len(requests))
        return [
            Completion(r.prompt.id, i, r.prompt.text.upper(), (), (), "stop", r.seed)
            for r in requests
            for i in range(r.n)
        ]

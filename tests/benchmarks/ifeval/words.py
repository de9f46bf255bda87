"""Checkers of two kinds that need no package: for the rules that are about no checker."""

from collections.abc import Iterable

from harness.benchmarks.ifeval.constraints import Constraint
from harness.core.config import Component
from harness.errors import MissingDependencyError


class WordCheckers(Component):
    """`words:first` and `words:none`: the text begins with a word, or lacks it."""

    installed: bool = True

    def version(self) -> str:
        return "word checkers 1"

    def require(self, kinds: Iterable[str]) -> None:
        if not self.installed:
            raise MissingDependencyError("needs the dictionary")

    def unavailable(self, kind: str) -> str | None:
        return None if kind in ("words:first", "words:none") else "unknown"

    def keeps(self, constraint: Constraint, prompt: str, text: str) -> bool:
        word = constraint.arguments["word"]
        return text.startswith(word) if constraint.kind == "words:first" else word not in text

    def published(self, questions, folder):
        return iter(())

"""What both protocols of WildBench v2 share: the conversations, who answers them, the hashes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from harness.benchmarks.wildbench import data, files
from harness.core.config import Component
from harness.core.hub import assets_directory
from harness.core.io import sha256
from harness.errors import AssetError
from harness.protocols import PolicySource, Sampling
from harness.types import Answer, Answers, JudgeRequest, Prompt, Reply

PARAMETERS: dict[str, Any] = {
    "temperature": 0,
    "max_tokens": 1024,
    "response_format": {"type": "json_object"},
}


class WildBenchProtocol(Component):
    """The conversations, answered without a baseline of ours; they come from `harness assets`."""

    baseline: ClassVar[PolicySource | None] = None
    sampling: Sampling
    max_words: int = -1
    """Words of each text that the judge is shown; -1: all."""
    assets: Path | None = Field(None, exclude=True)
    """The directory with the protocol data; None: HARNESS_ASSETS, or the user's cache."""

    def prompts(self) -> list[Prompt]:
        """Return the conversations, with their task groups in `meta`.

        Raises:
            AssetError: the protocol data is missing.
        """
        meta = {"baseline": self._against()}
        return [c.as_prompt(meta) for c in data.load_conversations(self._folder())]

    def next_prompts(self, prompts: Sequence[Prompt], answers: Sequence[Answer]) -> list[Prompt]:
        """Return nothing: only the last turn is answered."""
        return []

    def sampling_for(self, prompt: Prompt) -> Sampling:
        """Return the same sampling for every conversation."""
        return self.sampling

    def follow_up(self, request: JudgeRequest, replies: Sequence[Reply]) -> JudgeRequest | None:
        """Ask again; upstream leaves the answer out."""
        return request

    def read_answers(self, path: Path) -> list[Answers]:
        """Read a file in the layout of WildBench's model outputs."""
        return files.read_answers(path)

    def _folder(self) -> Path:
        return assets_directory(self.assets)

    def _against(self) -> str:
        return "none"


def task_groups(folder: Path) -> dict[str, tuple[str, ...]]:
    """Return the task groups by conversation; empty where the protocol data is missing."""
    try:
        return {c.id: c.groups for c in data.load_conversations(folder)}
    except AssetError:
        return {}


def protocol_sources(kind: str, folder: Path) -> dict[str, str]:
    """Return the sha256 of the conversations, if they are there, and of a template."""
    tasks = folder / data.FOLDER / data.TASKS
    name, template = data.TEMPLATES[kind]
    hashes = {f"{data.FOLDER}/{name}": template}
    return hashes | ({f"{data.FOLDER}/{data.TASKS}": sha256(tasks)} if tasks.is_file() else {})

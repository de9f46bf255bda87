"""Where training starts: weights that were given, and prompts."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from pydantic import Field

from harness.core.config import Component, build
from harness.core.hardware import ModelShape
from harness.core.hub import check_policy_path
from harness.core.io import directory_digest, sha256
from harness.core.seeds import derive, digest
from harness.core.stages import ExternalInput, Node, read_manifest
from harness.core.workspace import Run
from harness.errors import InputError, MissingDependencyError, first_line
from harness.protocols import PolicySource
from harness.toy import world
from harness.types import Message, Policy, Prompt


class Pretrained(Component):
    """A folder in the Hugging Face layout, or a hub id at a commit."""

    name: str
    path: str
    revision: str | None = None
    """A commit; without one a hub id means whatever its main branch holds today."""
    chat_template: str | None = None
    """A Jinja file that replaces the tokenizer's own template."""
    shape: ModelShape | None = Field(default=None, exclude=True)
    """How large it is, for estimates."""

    def sizes(self) -> ModelShape | None:
        """Return the model's sizes, where the configuration tells."""
        return self.shape

    def weights(self) -> Node:
        """Return the folder, known by its content, or the hub id, known by its commit.

        Raises:
            PolicyError: the path is a folder without a model, or looks local and is not there.
        """
        policy = self.with_weights(self.path)
        check_policy_path(policy)
        folder = Path(self.path)
        name = directory_digest(folder) if folder.is_dir() else f"{self.path}@{self.revision}"
        template = Path(self.chat_template).read_text("utf-8") if self.chat_template else None
        return ExternalInput(self.path, digest([name, template]))

    def with_weights(self, path: str) -> Policy:
        """Return the policy whose weights lie at `path`, with this one's chat template."""
        revision = self.revision if path == self.path else None
        return Policy(self.name, path, revision, self.chat_template)


class ToyPrompts(Component):
    """Instructions of the toy world; no two iterations, and no evaluation, share one."""

    count: int
    seed: int = 0

    def prompts(self, iteration: int) -> list[Prompt]:
        """Return `count` different instructions that `held_out` does not hold."""
        rng = random.Random(derive(self.seed, "toy prompts"))
        excluded = set(world.held_out_instructions())
        unique: dict[str, None] = {}
        while len(unique) < self.count * iteration:
            text = world.draw_instruction(rng)
            if text not in excluded:
                unique[text] = None
        texts = list(unique)[self.count * (iteration - 1) :]
        return [Prompt(id=text, messages=(Message("user", text),)) for text in texts]


class FilePrompts(Component):
    """A JSON-lines file with a `prompt` (text) or `messages` a line; the same each iteration."""

    path: str
    count: int | None = None
    """Only the first so many."""

    def fingerprint(self) -> str:
        """Return the sha256 of the file."""
        try:
            return sha256(Path(self.path))
        except OSError as error:
            raise InputError(f"cannot read the prompts {self.path}: {error.strerror}") from error

    def prompts(self, iteration: int) -> list[Prompt]:
        """Return the prompts of the file.

        Raises:
            InputError: the file is missing or a line of it does not fit.
        """
        try:
            lines = Path(self.path).read_text("utf-8").splitlines()
            return [_prompt(json.loads(line)) for line in lines if line.strip()][: self.count]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{self.path}: expected a JSON object with 'prompt' or 'messages' a line: {error}"
            ) from error


class HubPrompts(Component):
    """Datasets of the Hugging Face hub whose `column` holds a conversation or an instruction.

    One dataset or split an iteration; the last of them again, where there are fewer.
    """

    datasets: list[str]
    revision: str = "main"
    split: str | list[str] = "train"
    column: str = "context_messages"
    count: int | None = None
    """Only the first so many of each."""

    def prompts(self, iteration: int) -> list[Prompt]:
        """Return the prompts of an iteration's dataset and split.

        Raises:
            MissingDependencyError: the hub cannot be reached or has no such dataset.
        """
        import datasets

        splits = [self.split] if isinstance(self.split, str) else self.split
        name, split = (
            values[min(iteration, len(values)) - 1] for values in (self.datasets, splits)
        )
        try:
            table = datasets.load_dataset(name, revision=self.revision, split=split)
        except (OSError, ValueError, RuntimeError) as error:
            raise MissingDependencyError(
                f"cannot load the prompts {name} from the hub ({first_line(error)}); "
                "download them once with a connection, or name a file with "
                "--set 'prompts={use: harness.training.sources:FilePrompts, path: FILE}'"
            ) from error
        texts = table[self.column][: self.count]
        return [_prompt({"prompt" if isinstance(t, str) else "messages": t}) for t in texts]


def _prompt(row: dict[str, Any]) -> Prompt:
    turns = row["messages"] if "messages" in row else [{"role": "user", "content": row["prompt"]}]
    messages = tuple(Message(str(turn["role"]), str(turn["content"])) for turn in turns)
    name = row.get("id") or digest([[m.role, m.content] for m in messages])[:16]
    return Prompt(id=str(name), messages=messages)


class Origin(Component):
    """Which run has made a policy."""

    name: str
    method: str
    iteration: int
    base: str
    """The policy that training began with."""
    seed: int
    setting: str
    """A digest of the run's configuration without the seed: runs that share it are repeats."""


class TrainedPolicy(Component):
    """A policy that a run has made: a stage, known by its manifest."""

    name: str
    path: str
    origin: Origin = Field(exclude=True)

    def run(self) -> dict[str, Any]:
        """Return the run's name and method, the iteration, where it began, seed and setting."""
        return self.origin.model_dump()

    def weights(self) -> Node:
        """Return the stage's directory."""
        return ExternalInput(self.path, read_manifest(Path(self.path))["digest"])

    def with_weights(self, path: str) -> Policy:
        """Return the policy whose weights lie at `path`; its tokenizer lies with them."""
        return Policy(self.name, path)


def trained_policy(run: Run, iteration: int | None) -> PolicySource:
    """Return the policy of a run after an iteration; 0 is the start, None the last.

    Raises:
        StoreError: the run has not come that far.
    """
    path, start = run.policy(iteration), run.config["policy"]
    if iteration == 0:
        source: PolicySource = build(start, "policy")
        return source
    seed, rest = run.config["seed"], {k: v for k, v in run.config.items() if k != "seed"}
    qualifiers = [f"seed {seed}"] if seed else []
    qualifiers += [f"iteration {iteration}"] if iteration is not None else []
    origin = Origin(
        name=run.name,
        method=run.method,
        iteration=len(run.policies) - 1 if iteration is None else iteration,
        base=start.get("name", ""),
        seed=seed,
        setting=digest(rest),
    )
    label = f"{run.method} ({', '.join(qualifiers)})" if qualifiers else run.method
    return TrainedPolicy(name=label, path=path, origin=origin)

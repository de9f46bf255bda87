"""Sources of policies (pretrained, or trained by a run) and of training prompts."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field, model_validator

from harness.core.chat_templates import (
    check_template,
    folder_templates,
    read_template,
    with_arguments,
)
from harness.core.config import Component, HomePath, build, names, without_locations
from harness.core.hardware import ModelShape
from harness.core.hub import check_policy_path, configured_shape
from harness.core.io import sha256, text_sha256
from harness.core.manifests import read_manifest
from harness.core.model_files import model_digest
from harness.core.seeds import config_digest, derive, digest
from harness.core.stages import ExternalInput, Node
from harness.core.workspace import Run
from harness.errors import InputError, StoreError
from harness.protocols import PolicySource
from harness.toy import world
from harness.training.prompt_rows import HubRows, read_rows
from harness.training.prompt_selection import PromptSelection, select_rows
from harness.types import Message, Policy, Prompt


class Pretrained(Component):
    """A directory in the Hugging Face layout, or a hub id at a commit."""

    name: str
    path: HomePath
    revision: str | None = None
    """A commit; without one a hub id means the current head of its main branch."""
    chat_template: HomePath | None = None
    """A Jinja file that replaces the tokenizer's own template."""
    template_arguments: dict[str, Any] = Field(default={})
    """Variables that the template reads, e.g. `{enable_thinking: false}`; plain data."""
    end_tokens: tuple[str, ...] = ()
    """Tokens that end a turn, beside those of the tokenizer, the configurations, the template."""
    shape: ModelShape | None = Field(default=None, exclude=True)
    """The model's sizes, for estimates where its own `config.json` cannot be read."""

    def sizes(self) -> ModelShape | None:
        """Return the sizes of the model's own `config.json`, or those of the configuration."""
        policy = Policy(self.name, self.path, self.revision)
        return configured_shape(policy, download=self.shape is None) or self.shape

    def weights(self) -> Node:
        """Return the directory, identified by its content, or the hub id, identified by its commit.

        Raises:
            PolicyError: the path is a directory without a model, or a local path that does not
                exist; or the chat template cannot be read, reads the date, or never reads one of
                the template's arguments.
        """
        check_policy_path(self.with_weights(self.path))
        self._check_template()
        content = self.fingerprint()
        name = content.get("path", f"{self.path}@{self.revision}")
        parts: list[Any] = [name, content.get("chat_template")]
        if self.template_arguments or self.end_tokens:
            parts += [self.template_arguments, list(self.end_tokens)]
        return ExternalInput(self.path, digest(parts))

    def _check_template(self) -> None:
        if self.chat_template:
            owner, texts = self.chat_template, [read_template(self.chat_template)]
        else:
            owner, texts = self.path, folder_templates(Path(self.path))
        for template in texts:
            check_template(template, owner)
        if texts:
            with_arguments(dict(enumerate(texts)), self.template_arguments, owner)

    def fingerprint(self) -> dict[str, str]:
        """Return the digests of the files that decide what the model says: a folder's, a template.

        Raises:
            PolicyError: the template cannot be read.
        """
        folder, content = Path(self.path), {}
        if folder.is_dir():
            content["path"] = model_digest(folder)
        if self.chat_template:
            content["chat_template"] = text_sha256(read_template(self.chat_template))
        return content

    def with_weights(self, path: str) -> Policy:
        """Return the policy with the weights at `path`, this one's chat template and end tokens."""
        return Policy(
            self.name,
            path,
            self.revision if path == self.path else None,
            self.chat_template,
            self.end_tokens,
            self.template_arguments,
        )


class ToyPrompts(Component):
    """Instructions of the toy world, disjoint between iterations and from the evaluation's."""

    count: int
    seed: int = 0

    def prompts(self, iteration: int) -> list[Prompt]:
        """Return `count` different instructions, none of them held out for evaluation."""
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
    """A file of prompts: JSON lines, a JSON array, Parquet or CSV; the same for each iteration.

    A row's prompt is text or a list of messages, in the columns that `conversations` names.
    """

    result_version: ClassVar[int] = 2
    """2: lists of messages, answers at the end, repeated prompts."""
    path: HomePath
    column: str | None = None
    """The column that holds the prompt; None: the first known one that a row has."""
    count: int | None = Field(None, gt=0)
    """Use only the first `count` different prompts."""
    successive: bool = False
    """Whether iteration t uses the t-th `count` prompts instead of the first ones."""
    drop_bad: bool = False
    """Whether rows that hold no prompt are dropped and counted; otherwise they are refused."""

    @model_validator(mode="after")
    def _check_slices(self) -> FilePrompts:
        if self.successive and self.count is None:
            raise ValueError("successive: it needs `count`, the prompts of an iteration")
        return self

    def fingerprint(self) -> dict[str, str]:
        """Return the sha256 of the file."""
        try:
            return {"path": sha256(Path(self.path))}
        except OSError as error:
            raise InputError(f"cannot read the prompts {self.path}: {error.strerror}") from error

    def prompts(self, iteration: int) -> list[Prompt]:
        """Return the prompts of the file.

        Raises:
            InputError: the file cannot be read, a row holds no prompt, or no prompt is left.
        """
        return list(self.select(iteration).prompts)

    def select(self, iteration: int) -> PromptSelection:
        """Return the prompts of the file, and what was dropped."""
        start = (self.count or 0) * (iteration - 1) if self.successive else 0
        return select_rows(
            read_rows(Path(self.path)),
            self.path,
            column=self.column,
            drop_bad=self.drop_bad,
            count=self.count,
            start=start,
        )


class HubPrompts(Component):
    """Datasets of the Hugging Face hub, whose rows are read as those of `FilePrompts`.

    Each iteration uses the next dataset, revision and split; after the last one, the last one
    again.
    """

    result_version: ClassVar[int] = 2
    """2: lists of messages, answers at the end, repeated prompts."""
    datasets: list[str] = Field(min_length=1)
    revision: str | list[str] = "main"
    """A commit of all datasets, or one each."""
    split: str | list[str] = "train"
    column: str | None = None
    """The column that holds the prompt; None: the first known one that a row has."""
    count: int | None = Field(None, gt=0)
    """Use only the first `count` different prompts of each."""
    drop_bad: bool = False
    """Whether rows that hold no prompt are dropped and counted; otherwise they are refused."""

    @model_validator(mode="after")
    def _check_revisions(self) -> HubPrompts:
        for name in ("revision", "split"):
            if not getattr(self, name):
                raise ValueError(f"{name}: the list is empty")
        if isinstance(self.revision, list) and len(self.revision) != len(self.datasets):
            raise ValueError(
                f"revision: {len(self.revision)} commits for {len(self.datasets)} datasets"
            )
        return self

    def prompts(self, iteration: int) -> list[Prompt]:
        """Return the prompts of an iteration's dataset and split.

        Raises:
            MissingDependencyError: the hub cannot be reached or does not have the dataset.
            InputError: a row holds no prompt, or no prompt is left.
        """
        return list(self.select(iteration).prompts)

    def select(self, iteration: int) -> PromptSelection:
        """Return the prompts of an iteration's dataset and split, and what was dropped."""
        name, revision, split = (
            values[min(iteration, len(values)) - 1]
            for values in map(_listed, (self.datasets, self.revision, self.split))
        )
        rows = HubRows(name, revision, split).load("prompts")
        return select_rows(rows, name, column=self.column, drop_bad=self.drop_bad, count=self.count)


def _listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


class Origin(Component):
    """The run that trained a policy: its record, as far as tables need it."""

    name: str
    method: str
    iteration: int
    base: str
    """The policy that training started from."""
    seed: int
    setting: str
    """A digest of the run's configuration without the seed: runs with the same one are repeats."""
    config: dict[str, Any] = Field(default_factory=dict)
    """The run's configuration: tells runs of one label apart."""


class TrainedPolicy(Component):
    """A policy that a run has trained: the directory of a stage, identified by its manifest."""

    name: str
    path: str
    origin: Origin = Field(exclude=True)
    expected_digest: str = Field("", exclude=True)
    """The digest of the result that the run has recorded; empty where it has not."""

    def run(self) -> dict[str, Any]:
        """Return the run's name, method, iteration, base policy, seed, setting and config."""
        return self.origin.model_dump()

    def weights(self) -> Node:
        """Return the stage's directory.

        Raises:
            StoreError: the weights are missing, damaged, or not those that the run has trained.
        """
        actual = read_manifest(Path(self.path))["digest"]
        if self.expected_digest not in ("", actual):
            raise StoreError(
                f"{self.path} holds other weights than run {self.origin.name!r} has trained; "
                f"remove it, and train again: harness train ... --name {self.origin.name}"
            )
        return ExternalInput(self.path, actual)

    def fingerprint(self) -> dict[str, str]:
        """Return the digest of the weights."""
        return {"path": read_manifest(Path(self.path))["digest"]}

    def with_weights(self, path: str) -> Policy:
        """Return the policy with the weights at `path`; its tokenizer is in the same directory."""
        return Policy(self.name, path)


def trained_policy(run: Run, iteration: int | None) -> PolicySource:
    """Return the policy of a run after an iteration; 0 is the start, None the last one.

    Raises:
        StoreError: the run has not finished that iteration.
    """
    path, start = run.policy(iteration), run.config["policy"]
    if iteration == 0:
        source: PolicySource = build(start, "policy")
        return source
    seed, rest = run.config["seed"], {k: v for k, v in run.config.items() if k != "seed"}
    origin = Origin(
        name=run.name,
        method=run.method,
        iteration=len(run.policies) - 1 if iteration is None else iteration,
        base=start.get("name", ""),
        seed=seed,
        setting=config_digest(without_locations(rest)),
        config=without_locations(run.config),
    )
    return TrainedPolicy(
        name=default_label(run, iteration),
        path=path,
        origin=origin,
        expected_digest=run.digest(iteration),
    )


def default_label(run: Run, iteration: int | None) -> str:
    """Return what tables call a run's policy: its method, or its name if the user chose that.

    A method's seed is added unless it is 0, and the iteration if the user asks for one.
    """
    is_chosen = run.name not in (
        (run.method, *names("train")) if run.default_name is None else (run.default_name,)
    )
    seed = run.config["seed"]
    qualifiers = [f"seed {seed}"] if seed and not is_chosen else []
    qualifiers += [f"iteration {iteration}"] if iteration is not None else []
    label = run.name if is_chosen else run.method
    return f"{label} ({', '.join(qualifiers)})" if qualifiers else label

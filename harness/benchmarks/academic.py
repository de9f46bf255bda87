"""Academic tasks with known answers, by lm-eval: nobody judges.

Every task is a stage of its own, so that a run which was killed goes on from the finished ones; all
of them share one process and its model. What is stated of a task (its version in lm-eval, shots,
the number of its items) is compared with what lm-eval has before any model is loaded.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Protocol, runtime_checkable

from pydantic import BeforeValidator, Field

from harness.accelerators import taken
from harness.benchmarks import academic_score
from harness.benchmarks.academic_process import LOG, RECORDS, Examiner, examiner
from harness.benchmarks.academic_score import TASK, Examined
from harness.config import Component, identity
from harness.errors import ConfigError, PolicyError
from harness.files import folder_digest, write_whole
from harness.protocols import GenerationEngine, PolicySource
from harness.runs import MADE, Node, Stage, scratch
from harness.types import Policy, Score, Track

VERSION = 1
"""Raised when the same inputs would now give other records."""


@runtime_checkable
class Lending(Protocol):
    """An engine whose model lm-eval can load, too."""

    def lm_eval(self, policy: Policy) -> dict[str, Any]:
        """Return lm-eval's name of the model, the arguments to make it, and the environment."""
        ...


class Task(Component):
    """One task of lm-eval's, or a group of them that counts as one."""

    task: str
    """What lm-eval calls it."""
    version: float | str
    """Of its definition in lm-eval; another one is refused."""
    shots: int = Field(ge=0)
    metric: str
    """What lm-eval calls the figure: a mean over items."""
    filter: str = "none"
    """Which of lm-eval's ways to read an answer."""
    items: int | None = Field(None, gt=0)
    """How many there are; another number is refused. None: not known beforehand."""


def _kept(told: Any) -> Any:
    """Leave out what was set to nothing: `--set tasks.gpqa=null`."""
    return {k: v for k, v in told.items() if v is not None} if isinstance(told, Mapping) else told


class Academic(Component):
    """Tasks by what tables call them; their figures and the plain average of these, in percent."""

    called: str = "academic"
    tasks: Annotated[dict[str, Task], BeforeValidator(_kept)]
    chat_template: bool
    """Whether items are asked in the policy's chat template, shots as turns before."""
    seed: int
    """Which examples are drawn as shots, where a task draws them."""
    limit: int | None = Field(None, gt=0)
    """Only the first so many items of each of lm-eval's tasks: a sample, filed under its own name.
    None: all."""
    include: Path | None = None
    """A folder with tasks of one's own, as lm-eval's YAML."""
    batch_size: int = Field(16, gt=0, exclude=True)
    """Items at once with transformers; vLLM sees to that itself."""

    @property
    def name(self) -> str:
        """What results are filed under; a sample's name says that it is one."""
        return f"{self.called}-first-{self.limit}" if self.limit else self.called

    @contextmanager
    def stages(self, policy: PolicySource, engine: GenerationEngine) -> Iterator[list[Stage]]:
        """Lend a stage a task; they share a process, which is started when one has to be made.

        Raises:
            ConfigError: there is no task, or lm-eval cannot load what the engine does.
        """
        if not self.tasks:
            raise ConfigError(f"{self.name} has no task left: leave one in `tasks`")
        if not isinstance(engine, Lending):
            raise ConfigError(
                f"{type(engine).__name__} has no log-probabilities for lm-eval: name an engine "
                "that has, --engine vllm or --engine transformers"
            )
        with examiner(getattr(engine, "python", None)) as room:
            weights = policy.weights()
            yield [self._stage(key, weights, policy, engine, room) for key in self.tasks]

    def score(self, folders: Sequence[Path]) -> Score:
        """Score the tasks of stages that stand, in the order of `stages`."""
        return academic_score.score(self._examined(folders), self.limit)

    def sources(self, folders: Sequence[Path]) -> dict[str, str]:
        """Return what identifies each task: its definition, its items, and how it was asked."""
        return academic_score.sources(self._examined(folders))

    def told(self, folders: Sequence[Path]) -> dict[str, Any]:
        """Return what lm-eval tells of each task."""
        return {one.key: one.facts for one in self._examined(folders)}

    def versions(self, folders: Sequence[Path]) -> dict[str, str]:
        """Return the versions of lm-eval that the tasks were taken with."""
        found = {one.facts["lm_eval"] for one in self._examined(folders)}
        return {"lm-eval": ", ".join(sorted(found))}

    def files(self, folders: Sequence[Path]) -> dict[str, str]:
        """Return the records of every task by file name: what was said to each item."""
        read = [(one.key, one.folder / RECORDS) for one in self._examined(folders)]
        return {f"records/{key}.jsonl": path.read_text(encoding="utf-8") for key, path in read}

    def _examined(self, folders: Sequence[Path]) -> list[Examined]:
        pairs = zip(self.tasks, folders, strict=True)
        return [academic_score.read(key, folder) for key, folder in pairs]

    def _stage(
        self, key: str, weights: Node, policy: PolicySource, engine: Lending, room: Examiner
    ) -> Stage:
        task = self.tasks[key]
        config = {
            "task": identity(task),
            "chat": self.chat_template,
            "seed": self.seed,
            "limit": self.limit,
            "include": folder_digest(self.include) if self.include else None,
            "engine": identity(engine),
        }
        return Stage(
            name="academic",
            version=VERSION,
            config=config,
            inputs={"policy": weights},
            make=partial(self._make, key, policy, engine, room),
            label=f"{policy.name} · {key}",
            size=self.size(key),
            device=True,
            accelerators=taken(engine),
        )

    def size(self, key: str) -> str:
        """Say how much a task is, and how it is asked."""
        task = self.tasks[key]
        items = "items not known" if task.items is None else f"{task.items:,} items"
        limit = f"the first {self.limit} of each part of " if self.limit else ""
        return f"{limit}{items}, {task.shots} shots, {task.metric}, {task.task} {task.version}"

    def _make(
        self,
        key: str,
        policy: PolicySource,
        engine: Lending,
        room: Examiner,
        out: Path,
        inputs: Mapping[str, str],
        track: Track,
    ) -> None:
        task, weights = self.tasks[key], policy.at(inputs["policy"])
        lent = engine.lm_eval(weights)
        job = {
            **lent,
            **identity(task),
            "arguments": {"batch_size": self.batch_size, **lent["arguments"]},
            "parent": os.getpid(),
            "chat": self.chat_template,
            "template": _template(weights),
            "seed": self.seed,
            "limit": self.limit,
            "include": str(self.include.absolute()) if self.include else None,
        }
        folder = scratch(out)
        with track(f"{policy.name} · {key}", 0):
            found = room.examine(key, job, folder)
        asked = {"key": key, **identity(task), "chat": self.chat_template, "limit": self.limit}
        write_whole(out / TASK, json.dumps(asked | {"told": found}, indent=1, sort_keys=True))
        shutil.copyfile(folder / RECORDS, out / RECORDS)
        (out / MADE).mkdir()
        shutil.copyfile(folder / LOG, out / MADE / LOG)
        academic_score.check(academic_score.read(key, out))


def _template(policy: Policy) -> str | None:
    """Return the text of the chat template that a policy names; None: its tokenizer's own."""
    if policy.chat_template is None:
        return None
    try:
        return Path(policy.chat_template).read_text(encoding="utf-8")
    except OSError as error:
        raise PolicyError(f"cannot read {policy.chat_template}: {error.strerror}") from error

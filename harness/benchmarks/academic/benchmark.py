"""Academic tasks with known answers, evaluated by lm-eval without a judge.

Each task is a stage, so that a killed run resumes after the finished tasks; all tasks share one
process and its model. The configuration of a task (its version in lm-eval, the shots, the number of
items) is compared with lm-eval's before a model is loaded.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from harness.benchmarks.academic import score
from harness.benchmarks.academic.process import LOG, RECORDS, LmEvalProcess, lm_eval_process
from harness.benchmarks.academic.score import TASK, TaskResult
from harness.core.config import Component, identity
from harness.core.hub import load_tokenizer
from harness.core.io import directory_digest, write_atomically
from harness.core.manifests import PROVENANCE
from harness.core.stages import Node, Stage, scratch_directory
from harness.errors import ConfigError, PolicyError
from harness.protocols import GenerationEngine, LmEvalEngine, PolicySource, accelerators_needed
from harness.types import Policy, Score, Track

VERSION = 2
"""Raised whenever the same inputs give different records or files."""


class AcademicTask(Component):
    """A task of lm-eval, or a group of tasks that counts as one."""

    task: str
    """lm-eval's name of the task."""
    version: float | str
    """The version of its definition in lm-eval; a different one is refused."""
    shots: int = Field(ge=0)
    metric: str
    """lm-eval's name of the metric, which must be a mean over items."""
    filter: str = "none"
    """The lm-eval filter that parses the answers."""
    items: int | None = Field(None, gt=0)
    """The number of items; a different one is refused. None: not known in advance."""


def _drop_unset(value: Any) -> Any:
    """Drop tasks that are set to null (`--set tasks.gpqa=null`)."""
    return (
        {k: v for k, v in value.items() if v is not None} if isinstance(value, Mapping) else value
    )


class Academic(Component):
    """Tasks by their names in tables; their scores and the unweighted average, in percent."""

    base_name: str = "academic"
    tasks: Annotated[dict[str, AcademicTask], BeforeValidator(_drop_unset)]
    chat_template: bool
    """Whether items use the policy's chat template, with shots as earlier turns."""
    seed: int
    """The seed of the shots of tasks that sample them."""
    limit: int | None = Field(None, gt=0)
    """The number of leading items to take from each of lm-eval's tasks, filed under another name.
    None: all items."""
    include: Path | None = None
    """A directory with custom tasks in lm-eval's YAML."""
    batch_size: int = Field(16, gt=0, exclude=True)
    """Items per batch with transformers; vLLM chooses its own batches."""

    @property
    def name(self) -> str:
        """The name of the results, which says so if they are a sample."""
        return f"{self.base_name}-first-{self.limit}" if self.limit else self.base_name

    @contextmanager
    def stages(self, policy: PolicySource, engine: GenerationEngine) -> Iterator[list[Stage]]:
        """Yield one stage per task; they share a process, which starts when one first runs.

        Raises:
            ConfigError: there is no task, or lm-eval cannot load the engine's model.
        """
        if not self.tasks:
            raise ConfigError(f"{self.name} has no tasks: keep at least one in `tasks`")
        if not isinstance(engine, LmEvalEngine):
            raise ConfigError(
                f"{type(engine).__name__} has no log-probabilities for lm-eval: use --engine vllm "
                "or --engine transformers"
            )
        with lm_eval_process(engine.python) as process:
            weights = policy.weights()
            yield [self._stage(key, weights, policy, engine, process) for key in self.tasks]

    def score(self, folders: Sequence[Path]) -> Score:
        """Score the tasks of finished stages, in the order of `stages`."""
        return score.score(self._task_results(folders), self.limit)

    def sources(self, folders: Sequence[Path]) -> dict[str, str]:
        """Return a digest of each task's definition, items and settings."""
        return score.sources(self._task_results(folders))

    def facts(self, folders: Sequence[Path]) -> dict[str, Any]:
        """Return lm-eval's report on each task."""
        return {result.key: result.facts for result in self._task_results(folders)}

    def versions(self, folders: Sequence[Path]) -> dict[str, str]:
        """Return the lm-eval versions that evaluated the tasks."""
        lm_eval_versions = {result.facts["lm_eval"] for result in self._task_results(folders)}
        return {"lm-eval": ", ".join(sorted(lm_eval_versions))}

    def files(self, folders: Sequence[Path]) -> dict[str, str]:
        """Return the records of each task's items by file name."""
        record_paths = [
            (result.key, result.folder / RECORDS) for result in self._task_results(folders)
        ]
        return {
            f"records/{key}.jsonl": path.read_text(encoding="utf-8") for key, path in record_paths
        }

    def _task_results(self, folders: Sequence[Path]) -> list[TaskResult]:
        pairs = zip(self.tasks, folders, strict=True)
        return [score.read_task(key, folder) for key, folder in pairs]

    def _stage(
        self,
        key: str,
        weights: Node,
        policy: PolicySource,
        engine: LmEvalEngine,
        process: LmEvalProcess,
    ) -> Stage:
        task = self.tasks[key]
        config = {
            "task": identity(task),
            "chat": self.chat_template,
            "seed": self.seed,
            "limit": self.limit,
            "include": directory_digest(self.include) if self.include else None,
            "engine": identity(engine),
        }
        return Stage(
            name="academic",
            version=VERSION,
            config=config,
            inputs={"policy": weights},
            run=partial(self._run_task, key, policy, engine, process),
            label=f"{policy.name} · {key}",
            size=self.describe_size(key),
            device=True,
            accelerators=accelerators_needed(engine),
        )

    def describe_size(self, key: str) -> str:
        """Describe a task in one line: items, shots, metric, name and version."""
        task = self.tasks[key]
        items = "items not known" if task.items is None else f"{task.items:,} items"
        limit = f"the first {self.limit} of each part of " if self.limit else ""
        return f"{limit}{items}, {task.shots} shots, {task.metric}, {task.task} {task.version}"

    def _run_task(
        self,
        key: str,
        policy: PolicySource,
        engine: LmEvalEngine,
        process: LmEvalProcess,
        out: Path,
        inputs: Mapping[str, str],
        track: Track,
    ) -> None:
        task, weights = self.tasks[key], policy.with_weights(inputs["policy"])
        model_spec = engine.lm_eval(weights)
        job = {
            **model_spec,
            **identity(task),
            "arguments": {"batch_size": self.batch_size, **model_spec["arguments"]},
            "parent": os.getpid(),
            "chat": self.chat_template,
            "template": _template(weights),
            "seed": self.seed,
            "limit": self.limit,
            "include": str(self.include.absolute()) if self.include else None,
        }
        folder = scratch_directory(out)
        with track(f"{policy.name} · {key}", 0):
            facts = process.evaluate(key, job, folder)
        settings = {"key": key, **identity(task), "chat": self.chat_template, "limit": self.limit}
        write_atomically(
            out / TASK, json.dumps(settings | {"facts": facts}, indent=1, sort_keys=True)
        )
        shutil.copyfile(folder / RECORDS, out / RECORDS)
        (out / PROVENANCE).mkdir()
        shutil.copyfile(folder / LOG, out / PROVENANCE / LOG)
        score.check(score.read_task(key, out))


def _template(policy: Policy) -> str | None:
    """Return the chat template that a policy names; None: its tokenizer's own."""
    if policy.template_arguments:
        return str(load_tokenizer(policy).chat_template)
    if policy.chat_template is None:
        return None
    try:
        return Path(policy.chat_template).read_text(encoding="utf-8")
    except OSError as error:
        raise PolicyError(f"cannot read {policy.chat_template}: {error.strerror}") from error

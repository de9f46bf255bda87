"""Runs and their policies: `harness.train`, `harness.run`, `harness.runs`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from harness.api import frames
from harness.api.components import Overrides, find_run, open_workspace
from harness.api.judging import RUNS
from harness.api.logs import LOGGER
from harness.core import config
from harness.core.naming import check_name

if TYPE_CHECKING:
    import pandas as pd
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from harness.api.run_export import RunExport
    from harness.api.runs import RunRemoval
    from harness.core.workspace import Run, Workspace
    from harness.protocols import PolicySource
    from harness.training.rehearsal.stages import Rehearsal
    from harness.training.spec import TrainSpec


@dataclass(frozen=True)
class RunPolicy:
    """The policy after an iteration of a run; iteration 0 is where training started."""

    record: Run
    iteration: int

    @property
    def path(self) -> Path:
        """The folder with weights and tokenizer, in the Hugging Face layout."""
        return Path(self.record.policies[self.iteration])

    @property
    def source(self) -> PolicySource:
        """The policy as `evaluate(policy=...)` takes it."""
        from harness.training.sources import trained_policy

        return trained_policy(self.record, self.iteration)

    def load(
        self, dtype: str = "float32", device: str | None = None
    ) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
        """Return (model, tokenizer), the model in evaluation mode.

        Args:
            dtype: a torch data type by name.
            device: e.g. `cuda`; the default is a GPU where there is one.

        Raises:
            PolicyError: the folder does not hold a policy any more.
            StoreError: its files are not those that the run has written.
        """
        import torch

        from harness.core.hardware import default_device
        from harness.core.hub import load_model, load_tokenizer

        _check_files(self.path)
        policy = self.source.with_weights(str(self.path))
        model = load_model(policy, getattr(torch, dtype), device or default_device())
        return model, load_tokenizer(policy)


@dataclass(frozen=True)
class RunLog:
    """What a run logged at every optimiser step of every iteration."""

    record: Run

    def __iter__(self) -> Iterator[dict[str, Any]]:
        from harness.core.workspace import LOG_FILE, read_log

        for iteration, path in enumerate(self.record.policies):
            if iteration:
                _check_files(Path(path), {LOG_FILE})
                for row in read_log(Path(path) / LOG_FILE):
                    yield {"iteration": iteration, **row}

    def to_frame(self) -> pd.DataFrame:
        """Return one row a step: iteration, step, and every metric."""
        return frames.to_frame(self)


@dataclass(frozen=True)
class TrainingRun:
    """A run of the workspace: its configuration, policies and log."""

    record: Run
    workspace: Workspace
    """Where it is."""

    @property
    def name(self) -> str:
        """The run's name in the workspace."""
        return self.record.name

    @property
    def method(self) -> str:
        """The method's name in tables."""
        return self.record.method

    @property
    def config(self) -> Mapping[str, Any]:
        """The whole configuration, as plain data."""
        return self.record.config

    @property
    def complete(self) -> bool:
        """Whether every iteration has ended."""
        return self.record.complete

    @property
    def policies(self) -> Sequence[RunPolicy]:
        """The policies after iterations 0 (the start), 1, 2, ..., as far as they exist."""
        return [RunPolicy(self.record, t) for t in range(len(self.record.policies))]

    @property
    def log(self) -> RunLog:
        """The metrics of every step."""
        return RunLog(self.record)

    def export(
        self, directory: str | Path, *, pair_format: Literal["jsonl", "parquet"] = "jsonl"
    ) -> RunExport:
        """Write policies, pairs, configuration and results to a new folder, for use without this.

        Args:
            directory: an empty folder, or one that does not exist.
            pair_format: of the training pairs: `prompt`, `chosen`, `rejected`.

        Raises:
            ConfigError: the folder holds something.
            PolicyError: a policy cannot be read.
            StoreError: a stage is damaged, or the disk is full or read-only.
        """
        from harness.api.run_export import export_run

        return export_run(self.name, directory, pair_format=pair_format, workspace=self.workspace)

    def remove(self, *, results: bool = False) -> RunRemoval:
        """Remove the run, and the stages that no other run or result needs; results are kept.

        Args:
            results: whether the results graded from its policies are removed too.

        Raises:
            StoreError: a training or an evaluation is active, or a record is damaged.
        """
        from harness.api.runs import remove_run

        return remove_run(self.name, results=results, workspace=self.workspace)

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{policy.iteration}</td><td><code>{escape(str(policy.path))}</code></td></tr>"
            for policy in self.policies
        )
        state = "complete" if self.complete else "not complete"
        head = "<thead><tr><th>iteration</th><th>policy</th></tr></thead>"
        title = f"<p><b>{escape(self.name)}</b>: {escape(self.method)}, {state}</p>"
        return f"{title}<table>{head}<tbody>{rows}</tbody></table>"


def train(
    method: str | Path | Mapping[str, Any] | TrainSpec,
    overrides: Overrides = (),
    *,
    name: str | None = None,
    launcher: str | None = None,
    rehearse: bool = True,
    workspace: str | Path | Workspace = RUNS,
) -> TrainingRun:
    """Train a policy: sample, compare, pair, anchor, optimise, for each iteration of the method.

    Stages that are cached in the workspace are not computed again, so that a stopped run goes on.
    Before anything is sampled all of it is rehearsed on a few tokens, as `rehearse` does.

    Args:
        method: a name of configs/train, a YAML file, a mapping, or a specification that is built.
        overrides: e.g. `{"objective.eta": 0.1}`.
        name: the run's name; the default is the method's.
        launcher: where it runs: a name of configs/launcher.
        rehearse: False: what would fail after hours is not looked for first.
        workspace: where stages and the run's record are kept.

    Raises:
        ConfigError: a name or a key does not fit, or the run cannot be called so.
        RunExistsError: the name belongs to a run of another configuration.
        HarnessError: the rehearsal failed, or the training.
    """
    if name is not None:
        check_name(name, "run")
    spec = build_spec(method, overrides, launcher)
    opened = open_workspace(workspace)
    default = default_run_name(str(method)) if _is_name(method) else spec.method
    run_name = name or default
    launch(spec, opened, run_name, train_in_process, LOGGER.info, default, rehearse)
    return TrainingRun(find_run(opened, run_name), opened)


def rehearse(
    method: str | Path | Mapping[str, Any] | TrainSpec,
    overrides: Overrides = (),
    *,
    launcher: str | None = None,
    workspace: str | Path | Workspace = RUNS,
) -> Rehearsal:
    """Try whatever a training will do, on a few tokens, and train nothing.

    The policy is created if a recipe trains it, and so are the prompts. What was rehearsed before
    with the same policy, oracle and settings is not tried again.

    Args:
        method: a name of configs/train, a YAML file, a mapping, or a specification that is built.
        overrides: e.g. `{"optimiser.lora": {"rank": 16}}`.
        launcher: where it runs: a name of configs/launcher.
        workspace: where the rehearsal is kept.

    Raises:
        ConfigError: a name or a key does not fit.
        HarnessError: what would fail in the training fails here, with the exit code of its kind.
    """
    from harness.training import schedule

    spec = build_spec(method, overrides, launcher)
    opened = open_workspace(workspace)
    launch(spec, opened, "rehearsal", rehearse_in_process, LOGGER.info)
    return schedule.rehearse_all(spec, opened)


def run(name: str, *, workspace: str | Path | Workspace = RUNS) -> TrainingRun:
    """Return a run of a workspace.

    Raises:
        ConfigError: there is no such run.
        StoreError: its record is damaged.
    """
    opened = open_workspace(workspace)
    return TrainingRun(find_run(opened, name), opened)


def runs(*, workspace: str | Path | Workspace = RUNS) -> list[str]:
    """List the names of a workspace's runs."""
    from harness.core.workspace import run_names

    return run_names(open_workspace(workspace))


def build_spec(
    method: str | Path | Mapping[str, Any] | TrainSpec,
    overrides: Overrides = (),
    launcher: str | None = None,
) -> TrainSpec:
    """Return the specification of a training; the launcher goes before the other overrides.

    Raises:
        ConfigError: a name or a key does not fit.
    """
    from harness.core.extras import missing_extra
    from harness.errors import ConfigError

    try:
        from harness.training.spec import TrainSpec
    except ModuleNotFoundError as error:
        raise missing_extra(error) or error from error

    flat = config.parse_overrides(overrides)
    if launcher:
        flat = {"launcher": {"ref": f"launcher/{launcher}"}, **flat}
    if isinstance(method, TrainSpec):
        if flat:
            raise ConfigError(f"the specification is built: set {', '.join(flat)} before")
        return method
    return config.construct(TrainSpec, config.load("train", method, flat))


def launch(
    spec: TrainSpec,
    workspace: Workspace,
    name: str,
    body: Callable[[Mapping[str, Any]], None],
    notify: Callable[[str], None],
    default_name: str | None = None,
    rehearse: bool = True,
) -> None:
    """Train in this process, or where the launcher of the specification runs it.

    Args:
        spec: what to train.
        workspace: where stages and the run's record are kept.
        name: the run's name.
        body: called with `spec`, `root`, `name`, `default_name` and `rehearse`; importable by its
            name.
        notify: receives lines about the progress of a launcher.
        default_name: what the run would be called if the user had not named it.
        rehearse: whether a training is rehearsed first.

    Raises:
        ConfigError: a run cannot be called so.
    """
    from harness.protocols import RunLauncher

    check_name(name, "run")
    payload = {
        "spec": spec,
        "root": workspace.root,
        "name": name,
        "default_name": default_name,
        "rehearse": rehearse,
    }
    match spec.launcher:
        case RunLauncher() as launcher:
            launcher.launch(body, payload, notify)
        case _:
            body(payload)


def train_in_process(payload: Mapping[str, Any]) -> None:
    """Train in this process, or in those that a launcher started."""
    from harness.core.workspace.locks import in_use
    from harness.training import schedule

    workspace = open_workspace(payload["root"])
    with in_use(workspace):
        names = payload["name"], payload["default_name"]
        schedule.train(payload["spec"], workspace, *names, payload["rehearse"])


def rehearse_in_process(payload: Mapping[str, Any]) -> None:
    """Rehearse a training in this process, or in those that a launcher started."""
    from harness.core.workspace.locks import in_use
    from harness.training import schedule

    workspace = open_workspace(payload["root"])
    with in_use(workspace):
        schedule.rehearse_all(payload["spec"], workspace)


def default_run_name(method: str) -> str:
    """Return the name of a run whose method is a configuration's name, or a file's path."""
    return Path(method).stem if method.endswith((".yaml", ".yml")) else method


def _check_files(directory: Path, files: set[str] | None = None) -> None:
    """Compare a stage's files with its manifest; a policy from outside has none."""
    from harness.core.manifests import STAGE_NAME, read_manifest

    if STAGE_NAME.fullmatch(directory.name):
        read_manifest(directory, files)


def _is_name(method: object) -> bool:
    return isinstance(method, str | Path)

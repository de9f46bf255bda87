"""The process that runs lm-eval: it starts when it is first needed, and ends with its parent."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.core.io import log_tail, write_atomically
from harness.core.terminal import shorten
from harness.errors import (
    AssetError,
    CheckError,
    ConfigError,
    EngineError,
    HarnessError,
    MissingDependencyError,
    PolicyError,
)

WORKER = Path(__file__).with_name("worker.py")
POLL_SECONDS = 0.1
INSTALL = "install it with `pip install 'preference-harness[academic]'`"
RECORDS, OUTCOME, LOG = "records.jsonl", "outcome.json", "log.txt"


@dataclass
class LmEvalProcess:
    """A worker process that keeps its model between tasks; it starts with the first task."""

    python: str | None
    """The interpreter that has lm-eval; None: the current one."""
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def evaluate(self, key: str, job: Mapping[str, Any], folder: Path) -> dict[str, Any]:
        """Run a job in a directory, which then holds the records; return lm-eval's report.

        Raises:
            HarnessError: the job failed; the class and the message say how to mend it.
        """
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / LOG).touch()
        write_atomically(folder / "job.json", json.dumps(job))
        process = self._ensure_started()
        assert process.stdin is not None
        with suppress(BrokenPipeError):
            process.stdin.write(json.dumps(str(folder)).encode() + b"\n")
            process.stdin.flush()
        while not (folder / OUTCOME).is_file():
            if process.poll() is not None and not (folder / OUTCOME).is_file():
                raise _process_error(key, process.returncode, folder / LOG)
            time.sleep(POLL_SECONDS)
        outcome: dict[str, Any] = json.loads((folder / OUTCOME).read_text(encoding="utf-8"))
        if "error" in outcome:
            raise task_error(key, job, outcome["error"], outcome["detail"])
        return outcome

    def _ensure_started(self) -> subprocess.Popen[bytes]:
        if self.process is None or self.process.poll() is not None:
            # -P: the worker's directory must not become an import path
            command = [self.python or sys.executable, "-P", str(WORKER), str(os.getpid())]
            try:
                self.process = subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,
                )
            except OSError as error:
                raise MissingDependencyError(
                    f"no interpreter {self.python!r} ({error.strerror}); name one that has lm-eval "
                    "with --set engine.python=PATH"
                ) from error
        return self.process

    def close(self) -> None:
        """Kill the worker and its children."""
        if self.process is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        with suppress(BrokenPipeError):
            self.process.communicate()


@contextmanager
def lm_eval_process(python: str | None) -> Iterator[LmEvalProcess]:
    """Yield a worker whose process ends with the context."""
    worker = LmEvalProcess(python)
    try:
        yield worker
    finally:
        worker.close()


def task_error(key: str, job: Mapping[str, Any], kind: str, detail: str) -> HarnessError:
    """Return the error of a refused job, with its remedy."""
    task, summary = job["task"], shorten(detail)
    mismatch = (
        f"the configuration of {key} states {kind} {job.get(kind)}, lm-eval's {task} has {summary}"
    )
    match kind:
        case "data":
            return dataset_error(key, *detail.split("\n", 1))
        case "sentences":
            return AssetError(
                f"{key} ({task}) needs nltk's data `punkt_tab`, which could not be downloaded: "
                "fetch it with `python -m nltk.downloader punkt_tab` where there is a connection"
            )
        case "version" | "items" | "shots":
            return CheckError(
                f"{mismatch}: install the version of lm-eval that it was written for, or change it "
                f"with --set tasks.{key}.{kind}=..."
            )
        case "metric":
            return ConfigError(
                f"{task} has no {job['metric']} ({job['filter']}) by item; it has {detail}: choose "
                f"one with --set tasks.{key}.metric=... and tasks.{key}.filter=..."
            )
        case "memory":
            return EngineError(
                f"{key} does not fit in memory ({summary}): lower --set batch_size=..., or with "
                "vLLM --set engine.gpu_memory_utilization=..."
            )
        case "package":
            return MissingDependencyError(f"{summary}: {INSTALL}")
        case "policy" | "template":
            return PolicyError(f"lm-eval cannot use {job['arguments']['pretrained']}: {summary}")
    return ConfigError(f"{key}: {summary}; `lm-eval ls tasks` lists the known tasks")


def dataset_error(key: str, name: str, reason: str = "") -> AssetError:
    """Return the error of a data set that is not available."""
    return AssetError(
        f"the data set {name} of {key} is not available ({shorten(reason)}): run "
        f"`hf download --repo-type dataset {name}` where there is a connection and copy the cache "
        f"(HF_HOME); if it is gated, accept its terms at https://huggingface.co/datasets/{name} "
        f"and set HF_TOKEN; or drop the task with --set tasks.{key}=null. Finished tasks are kept"
    )


def _process_error(key: str, code: int, log: Path) -> HarnessError:
    last = log_tail(log)
    if "No module named" in last:
        return MissingDependencyError(f"{shorten(last)}: {INSTALL}")
    return EngineError(
        f"lm-eval's process ended with exit code {code} in {key}: {shorten(last)}; its log: {log}. "
        "Run the same command again: finished tasks are kept"
    )

"""Generation with vLLM in a child process, which may have another interpreter and packages.

The worker (`vllm_worker`) is run by path; it reads positions of requests as lines, and appends its
answers to a file. A sample depends on its own request only as far as vLLM guarantees it: for the
same version, hardware and batch shapes.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TextIO

from pydantic import Field, model_validator

from harness.core.config import Component, HomePath
from harness.core.hardware import has_nvidia_device
from harness.core.io import log_tail
from harness.engines.completions import GenerationJob, prepare
from harness.errors import EngineError, HarnessError, MissingDependencyError
from harness.protocols import Advance, AnswerRequests, Sampling
from harness.types import Completion, Policy, Request

WORKER = Path(__file__).with_name("vllm_worker.py")
POLL_SECONDS = 0.1
CPU_BATCH_TOKENS = 8192
"""Tokens that vLLM computes at once on the CPU; more where one sequence is longer."""
NEUTRAL = frozenset(
    {
        "cpu_offload_gb",
        "disable_log_stats",
        "download_dir",
        "kv_cache_memory_bytes",
        "max_num_batched_tokens",
        "max_parallel_loading_workers",
        "pipeline_parallel_size",
    }
)
"""Arguments that change no sample beyond what batches do."""
_FIELD = "set engine.{} instead"
OWN = {
    **dict.fromkeys(("dtype", "max_model_len", "gpu_memory_utilization"), _FIELD),
    **dict.fromkeys(("tensor_parallel_size", "enforce_eager", "max_num_seqs"), _FIELD),
    "model": "it is the policy's",
    "revision": "it is the policy's",
    "tokenizer": "it is the policy's",
    "trust_remote_code": "a policy's own code is never run",
    **dict.fromkeys(("seed", "skip_tokenizer_init", "generation_config"), "the engine sets it"),
}
"""Arguments that the engine sets, with what to do instead."""
IN_PROCESS_ENVIRONMENT = {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_NO_USAGE_STATS": "1"}
"""Variables that keep vLLM in the worker's process."""


class VLLMEngine(Component):
    """Samples with vLLM, on GPUs or (with a slow start) on the CPU."""

    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """auto: float32 on the CPU, bfloat16 on a GPU."""
    max_model_len: int | None = Field(None, gt=0)
    """The most tokens of prompt and response together; None: the policy's context."""
    args: dict[str, Any] = Field({})
    """Further arguments of vLLM's `EngineArgs` that may change a sample: `quantization`, ..."""
    neutral_args: dict[str, Any] = Field({}, exclude=True)
    """Those that change no sample; the ones of `NEUTRAL` are taken from `args`."""
    python: HomePath | None = Field(None, exclude=True)
    """The interpreter that has vLLM; None: the current one."""
    gpu_memory_utilization: float = Field(0.9, gt=0, le=1, exclude=True)
    """The share of a GPU's memory for weights and cache."""
    tensor_parallel_size: int = Field(1, gt=0, exclude=True)
    """GPUs that share one copy of the weights, if one GPU is too small."""
    enforce_eager: bool = Field(False, exclude=True)
    """True: no compiled graphs, for a faster start and slower generation; always so on the CPU."""
    max_num_seqs: int | None = Field(None, gt=0, exclude=True)
    """The most sequences per batch; None: vLLM's default."""
    cpu_cache_gib: int = Field(1, gt=0, exclude=True)
    """Memory for keys and values on the CPU, in GiB."""
    patience: float = Field(1800.0, gt=0, exclude=True)
    """Seconds without a result or log output after which the worker counts as hung."""
    selection_reason: str = Field("", exclude=True)
    """Why `engine: auto` selected it; empty if the user named it."""

    @model_validator(mode="before")
    @classmethod
    def _split_arguments(cls, fields: Any) -> Any:
        if not isinstance(fields, dict) or not isinstance(args := fields.get("args"), dict):
            return fields
        if wrong := sorted({*args} & {*OWN}):
            raise ValueError(
                f"engine.args cannot hold {wrong[0]}: {OWN[wrong[0]].format(wrong[0])}"
            )
        neutral = {name: args[name] for name in args if name in NEUTRAL}
        return fields | {
            "args": {name: args[name] for name in args if name not in NEUTRAL},
            "neutral_args": {**fields.get("neutral_args", {}), **neutral},
        }

    @property
    def accelerators(self) -> int:
        """The number of GPUs it uses."""
        return self.tensor_parallel_size

    def lm_eval(self, policy: Policy) -> dict[str, Any]:
        """Return lm-eval's name of this engine, its arguments and its environment."""
        devices = self._device_arguments(None)
        device_arguments = devices["gpu" if has_nvidia_device() else "cpu"]
        arguments = {
            "pretrained": policy.path,
            "revision": policy.revision,
            "tokenizer_revision": policy.revision,
            "max_model_len": self.max_model_len,
            "batch_size": "auto",
            **self._engine_arguments(),
            **device_arguments,
        }
        environment = {} if has_nvidia_device() else devices["cpu_environment"]
        return {
            "model": "vllm",
            "arguments": arguments,
            "environment": environment | IN_PROCESS_ENVIRONMENT,
        }

    def check_ready(self) -> None:
        """Raise MissingDependencyError if the interpreter does not exist, or has no vLLM."""
        super().check_ready()
        check_installed(self.python)

    def generate(
        self, policy: Policy, requests: Sequence[Request], sampling: Sampling, advance: Advance
    ) -> list[Completion]:
        """Answer every request, in order: n completions each, with their tokens.

        Raises:
            MissingDependencyError: the interpreter does not exist, or has no vLLM.
            PolicyError: the tokenizer or the chat template cannot be used.
            EngineError: a prompt leaves no room for a response; the worker failed or hung.
        """
        with self.resident(policy, requests, sampling) as answer:
            return answer(range(len(requests)), advance)

    @contextmanager
    def resident(
        self, policy: Policy, requests: Sequence[Request], sampling: Sampling
    ) -> Iterator[AnswerRequests]:
        """Start a worker; the yielded function answers any of the requests.

        Raises:
            MissingDependencyError: as `generate`.
            PolicyError: as `generate`.
            EngineError: as `generate`.
        """
        check_installed(self.python)
        job = prepare(policy, requests, self.max_model_len)
        if not requests:
            yield lambda positions, advance: []
            return
        with temporary_directory() as folder:
            job_text = json.dumps(self._job_data(policy, job, sampling))
            (folder / "job.json").write_text(job_text, encoding="utf-8")
            with start_worker(self.python or sys.executable, folder) as worker_process:

                def answer(positions: Sequence[int], advance: Advance) -> list[Completion]:
                    completions: dict[int, list[Completion]] = {}
                    for position, samples in stream_answers(
                        worker_process, positions, self.patience
                    ):
                        completions[position] = request_completions(job, position, samples)
                        advance(1)
                    return [sample for position in positions for sample in completions[position]]

                yield answer

    @property
    def gpus(self) -> int:
        """The number of GPUs that hold one copy of the weights."""
        return self.tensor_parallel_size

    def _job_data(self, policy: Policy, job: GenerationJob, sampling: Sampling) -> dict[str, Any]:
        """Return the worker's input: plain data in vLLM's terms."""
        all_requests = [
            request_data(job, position, sampling) for position in range(len(job.requests))
        ]
        longest = max(len(r["prompt_token_ids"]) + r["max_tokens"] for r in all_requests)
        return {
            "parent": os.getpid(),
            "engine": {
                "model": policy.path,
                "revision": policy.revision,
                "skip_tokenizer_init": True,
                "max_model_len": longest,
                **self._engine_arguments(),
            },
            **self._device_arguments(longest),
            "sampling": {"temperature": sampling.temperature, "top_p": sampling.top_p},
            "end_ids": list(job.ends),
            "requests": all_requests,
        }

    def _engine_arguments(self) -> dict[str, Any]:
        """Return vLLM's arguments that do not depend on the device."""
        return {
            "generation_config": "vllm",  # ignore the settings that the directory recommends
            "load_format": "safetensors",
            "enable_prefix_caching": True,
            "seed": 0,
            **({"max_num_seqs": self.max_num_seqs} if self.max_num_seqs else {}),
            **self.args,
            **self.neutral_args,
        }

    def _device_arguments(self, longest: int | None) -> dict[str, dict[str, Any]]:
        """Return vLLM's arguments on a GPU and on the CPU, and its environment on the CPU."""
        return {
            "gpu": {
                "dtype": "bfloat16" if self.dtype == "auto" else self.dtype,
                "gpu_memory_utilization": self.gpu_memory_utilization,
                "tensor_parallel_size": self.tensor_parallel_size,
                "enforce_eager": self.enforce_eager,
            },
            "cpu": {
                "dtype": "float32" if self.dtype == "auto" else self.dtype,
                "enforce_eager": True,
                **({} if longest is None else whole_prompts(longest)),
            },
            "cpu_environment": {
                "VLLM_CPU_KVCACHE_SPACE": str(self.cpu_cache_gib),
                "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            },
        }


def whole_prompts(longest: int) -> dict[str, Any]:
    """Return the arguments with which every prompt is computed whole.

    Where a prompt is computed in part, vLLM sets the random generator of its request back, which
    torch's generators on the CPU cannot do ("CPU Generator does not use offset").

    Args:
        longest: The tokens of the longest prompt and response.
    """
    return {
        "enable_chunked_prefill": False,
        "max_num_batched_tokens": max(longest, CPU_BATCH_TOKENS),
    }


def request_data(job: GenerationJob, position: int, sampling: Sampling) -> dict[str, Any]:
    """Return one request as the worker reads it."""
    original = job.requests[position]
    return {
        "prompt_token_ids": list(job.prompts[position]),
        "n": original.n if sampling.temperature else 1,  # vLLM refuses n > 1 in greedy decoding
        "seed": original.seed,
        "max_tokens": job.response_limit(position, sampling.max_tokens),
    }


def request_completions(
    job: GenerationJob, position: int, samples: list[list[int]]
) -> list[Completion]:
    """Return a request's completions; one greedy sample is repeated n times."""
    n = job.requests[position].n
    all_samples = samples * n if len(samples) == 1 else samples
    return [job.completion(position, index, ids) for index, ids in enumerate(all_samples)]


def check_installed(python: str | None) -> None:
    """Check that the interpreter exists, or that the current one has vLLM.

    Raises:
        MissingDependencyError: it does not.
    """
    if python is not None and shutil.which(python) is None:
        raise MissingDependencyError(
            f"no interpreter {python!r}; name one that has vLLM with --set engine.python=PATH"
        )
    if python is None and importlib.util.find_spec("vllm") is None:
        raise not_installed_error("this environment")


def not_installed_error(where: str) -> MissingDependencyError:
    """Return the error that says how to install vLLM."""
    return MissingDependencyError(
        f"vLLM is not installed in {where}; install it with `make vllm`, or name an interpreter "
        "that has it with --set engine.python=PATH"
    )


@contextmanager
def temporary_directory() -> Iterator[Path]:
    """Yield a directory that is removed afterwards, unless an error names the log in it."""
    folder = Path(tempfile.mkdtemp(prefix="harness-vllm-"))
    keep = False
    try:
        yield folder
    except EngineError:
        keep = True
        raise
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True)
class WorkerProcess:
    """A running worker."""

    process: subprocess.Popen[bytes]
    python: str
    folder: Path
    results: TextIO
    """The file with its results, read up to the last call."""


@contextmanager
def start_worker(python: str, folder: Path) -> Iterator[WorkerProcess]:
    """Start a worker on a directory's job, in a process group that is killed after the block."""
    (folder / "results.jsonl").touch()
    # -P: otherwise imports would find the transformers.py beside the worker
    command = [python, "-P", str(WORKER), str(folder)]
    with open(log_path(folder), "wb") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True
        )
    try:
        with open(folder / "results.jsonl", encoding="utf-8") as results:
            yield WorkerProcess(process, python, folder, results)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        with suppress(BrokenPipeError):
            process.communicate()


def stream_answers(
    worker_process: WorkerProcess, positions: Sequence[int], patience: float
) -> Iterator[tuple[int, list[list[int]]]]:
    """Yield the position and the token ids of each request, in the order of completion.

    Raises:
        EngineError: the worker failed, or gave no sign of life for `patience` seconds.
        MissingDependencyError: its interpreter has no vLLM.
    """
    unanswered, partial, last_sign, size = set(positions), "", time.monotonic(), -1
    send_positions(worker_process.process, positions)
    while unanswered:
        # polled before the last read, so that nothing that was written is missed
        code = worker_process.process.poll()
        *lines, partial = (partial + worker_process.results.read()).split("\n")
        for line in lines:
            result = json.loads(line)
            unanswered.remove(result["position"])
            yield result["position"], result["token_ids"]
        if unanswered and code is not None:
            raise exit_error(worker_process, code, len(positions) - len(unanswered), len(positions))
        if (new_size := output_size(worker_process.folder)) != size:
            last_sign, size = time.monotonic(), new_size
        elif time.monotonic() - last_sign > patience:
            raise worker_error(
                worker_process.folder, f"gave no sign of life for {patience:.0f} seconds"
            )
        if unanswered:
            time.sleep(POLL_SECONDS)


def send_positions(process: subprocess.Popen[bytes], positions: Sequence[int]) -> None:
    """Send positions to a worker; the reader of its results notices a worker that has ended."""
    if process.stdin:
        with suppress(BrokenPipeError):
            process.stdin.write(json.dumps(list(positions)).encode() + b"\n")
            process.stdin.flush()


def exit_error(worker_process: WorkerProcess, code: int, answered: int, total: int) -> HarnessError:
    """Return the error of a worker that ended before it answered all requests."""
    if code and "No module named 'vllm'" in log_tail(log_path(worker_process.folder)):
        return not_installed_error(worker_process.python)
    if code:
        return worker_error(worker_process.folder, f"ended with exit code {code}")
    return worker_error(worker_process.folder, f"answered {answered} of {total} requests")


def output_size(folder: Path) -> int:
    """Return the bytes that a worker has written, which grow as long as it works."""
    return (folder / "results.jsonl").stat().st_size + log_path(folder).stat().st_size


def log_path(folder: Path) -> Path:
    """Return the file of everything that the worker prints."""
    return folder / "log.txt"


def worker_error(folder: Path, problem: str) -> EngineError:
    """Return an error with the end of the worker's log and its path."""
    tail = log_tail(log_path(folder))
    return EngineError(f"the vLLM worker {problem}: {tail}; its log: {log_path(folder)}")

"""One stage made by several processes of this machine, started by torchrun.

The stage's specification goes to them as a file of plain data, their error comes back as one. All
of them end with the process that started them, so that a run that is begun again trains alone.
"""

from __future__ import annotations

import ctypes
import json
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness import errors
from harness.config import Component
from harness.errors import HarnessError
from harness.isolation import PR_SET_PDEATHSIG
from harness.runs import scratch

JOB, FAILURE = "job.json", "failure.json"


def together(spec: Component, t: int, out: Path, inputs: Mapping[str, str], processes: int) -> None:
    """Have `processes` workers make iteration t's optimise stage into `out`.

    Raises:
        HarnessError: what a worker raised; or a worker was killed.
    """
    place = scratch(out)
    place.mkdir(parents=True, exist_ok=True)
    job = {"spec": written(spec), "t": t, "out": str(out), "inputs": dict(inputs)}
    (place / JOB).write_text(json.dumps(job, indent=1), encoding="utf-8")
    (place / FAILURE).unlink(missing_ok=True)
    torchrun = ("-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}")
    command = [sys.executable, *torchrun, "-m", "harness.training.worker", str(place / JOB)]
    silent = subprocess.DEVNULL
    done = subprocess.run(command, stdout=silent, stderr=silent, preexec_fn=end_with_us)
    if done.returncode:
        raise failure(place) or HarnessError(
            f"one of the {processes} training processes ended without a word: out of memory, or "
            "killed? Run the same command again; it goes on from the last checkpoint"
        )


def written(value: Any) -> Any:
    """Return a component as the plain data that builds it again, all of its fields."""
    match value:
        case Component():
            fields = {name: written(getattr(value, name)) for name in type(value).model_fields}
            return {"use": f"{type(value).__module__}:{type(value).__qualname__}", **fields}
        case Mapping():
            return {str(key): written(inner) for key, inner in value.items()}
        case list() | tuple():
            return [written(inner) for inner in value]
        case Path():
            return str(value)
    return value


def fail(place: Path, error: HarnessError) -> None:
    """Leave a worker's error for the process that waits."""
    told = {"kind": type(error).__name__, "message": str(error)}
    (place / FAILURE).write_text(json.dumps(told), encoding="utf-8")


def failure(place: Path) -> HarnessError | None:
    """Return the error that a worker left."""
    try:
        told = json.loads((place / FAILURE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    kind: type[HarnessError] = getattr(errors, told["kind"], HarnessError)
    return kind(told["message"])


def end_with_us() -> None:
    """Have the kernel end this process with its parent, even by SIGKILL (Linux only)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)

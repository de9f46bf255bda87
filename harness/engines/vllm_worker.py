"""The child process that generates with vLLM: `python -P vllm_worker.py DIRECTORY`.

It reads DIRECTORY/job.json, then from standard input lines with the positions of the requests to
answer, and appends one line per finished request to DIRECTORY/results.jsonl. Its interpreter may
not have the harness, so it imports nothing of it.
"""

import ctypes
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any, TextIO

PR_SET_PDEATHSIG = 1


def main(folder: Path) -> None:
    """Answer requests of the job until standard input ends."""
    job = json.loads((folder / "job.json").read_text("utf-8"))
    die_with_parent(job["parent"])
    os.environ.update({"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_NO_USAGE_STATS": "1"})
    engine = start_engine(job)
    with open(folder / "results.jsonl", "a", encoding="utf-8") as results:
        for line in sys.stdin:
            answer(engine, job, json.loads(line), results)


def answer(engine: Any, job: dict[str, Any], positions: list[int], results: TextIO) -> None:
    """Answer the requests at some positions."""
    for position in positions:
        request = job["requests"][position]
        prompt = {"prompt_token_ids": request["prompt_token_ids"]}
        engine.add_request(str(position), prompt, sampling_parameters(job, request))
    while engine.has_unfinished_requests():
        for output in engine.step():
            if output.finished:
                write_result(results, output)


def die_with_parent(parent: int) -> None:
    """Ask the kernel to kill this process when its parent ends, even by SIGKILL (Linux only)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit("the parent has ended")


def start_engine(job: dict[str, Any]) -> Any:
    """Return vLLM's engine on the GPU, or on the CPU without one."""
    from vllm import EngineArgs, LLMEngine
    from vllm.platforms import current_platform

    is_cpu = current_platform.is_cpu()
    for name, value in job["cpu_environment"].items() if is_cpu else ():
        os.environ.setdefault(name, value)
    device = job["cpu"] if is_cpu else job["gpu"]
    arguments = {**device, **job["engine"]}
    return LLMEngine.from_engine_args(EngineArgs(trust_remote_code=False, **arguments))


def sampling_parameters(job: dict[str, Any], request: dict[str, Any]) -> Any:
    """Return a request's sampling parameters; `stop_token_ids` because no tokenizer is loaded."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    return SamplingParams(
        n=request["n"],
        seed=request["seed"],
        max_tokens=request["max_tokens"],
        stop_token_ids=job["end_ids"],
        detokenize=False,
        output_kind=RequestOutputKind.FINAL_ONLY,
        **job["sampling"],
    )


def write_result(results: TextIO, output: Any) -> None:
    """Append a finished request: its position and its samples, ordered by index."""
    samples = sorted(output.outputs, key=lambda sample: sample.index)
    result = {"position": int(output.request_id), "token_ids": [list(s.token_ids) for s in samples]}
    results.write(json.dumps(result) + "\n")
    results.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    sys.stdout.flush()
    os._exit(0)  # everything is written, and vLLM would take seconds to shut down

"""The parent's side: everything but the generation itself, which the conformance suite holds."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.core.config import identity
from harness.engines.completions import prepare
from harness.engines.vllm import VLLMEngine, whole_prompts
from harness.errors import EngineError, MissingDependencyError, PolicyError
from harness.protocols import Sampling
from harness.types import Completion, Policy, Request

Ask = Callable[..., Request]

PARENT = """
import json, os, sys, time
from pathlib import Path
from harness.engines.vllm import start_worker
job = {"parent": os.getpid(), "requests": []}
Path(sys.argv[1], "job.json").write_text(json.dumps(job))
with start_worker(sys.executable, Path(sys.argv[1])):
    time.sleep(60)
"""
STUB = """
import os, pathlib, time
pathlib.Path(os.environ["STUB_PID"]).write_text(str(os.getpid()))
time.sleep(120)
"""


@pytest.fixture
def interpreter(tmp_path: Path) -> Callable[[str], str]:
    """Write what stands in for Python: a shell script."""

    def write(script: str) -> str:
        path = tmp_path / "python"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return str(path)

    return write


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


def generate(engine: VLLMEngine, policy: Policy, requests: list[Request]) -> list[Completion]:
    return engine.generate(policy, requests, Sampling(max_tokens=4), lambda _: None)


def test_a_crash_names_the_log_and_its_last_lines(
    policy: Policy, ask: Ask, interpreter: Callable[[str], str]
) -> None:
    python = interpreter("echo loading; echo; echo 'RuntimeError: out of memory' >&2; exit 3")
    with pytest.raises(EngineError, match=r"exit code 3: loading \| RuntimeError: out") as caught:
        generate(VLLMEngine(python=python), policy, [ask("w1")])
    message = str(caught.value)
    assert "\n" not in message
    assert "out of memory" in Path(message.rsplit("its log: ", 1)[1]).read_text()


def test_a_worker_that_is_killed_is_an_error(
    policy: Policy, ask: Ask, interpreter: Callable[[str], str]
) -> None:
    with pytest.raises(EngineError, match="exit code -9: it said nothing"):
        generate(VLLMEngine(python=interpreter("kill -9 $$")), policy, [ask("w1")])


def test_a_worker_that_stops_early_is_an_error(
    policy: Policy, ask: Ask, interpreter: Callable[[str], str], scratch: Path
) -> None:
    line = '{"position": 0, "token_ids": [[5, 1]]}'
    python = interpreter(f"echo '{line}' >> $3/results.jsonl")
    with pytest.raises(EngineError, match="answered 1 of 2 requests"):
        generate(VLLMEngine(python=python), policy, [ask("w1"), ask("w2")])
    (completion,) = generate(VLLMEngine(python=python), policy, [ask("w1")])
    assert (completion.text, completion.finish_reason, completion.token_ids) == (
        "w1",
        "stop",
        (5, 1),
    )
    assert len(list(scratch.iterdir())) == 1  # the failure's, for its log


def test_a_hung_worker_is_killed(
    policy: Policy, ask: Ask, interpreter: Callable[[str], str], tmp_path: Path
) -> None:
    python = interpreter(f"sleep 100 & echo $! $$ > {tmp_path}/pids; wait")
    with pytest.raises(EngineError, match="no sign of life for 1 seconds"):
        generate(VLLMEngine(python=python, patience=1), policy, [ask("w1")])
    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    waited(lambda: all(gone(pid) for pid in pids))


def test_an_interpreter_without_vllm_is_a_missing_dependency(
    policy: Policy, ask: Ask, interpreter: Callable[[str], str], scratch: Path
) -> None:
    python = interpreter("""echo "ModuleNotFoundError: No module named 'vllm'" >&2; exit 1""")
    with pytest.raises(MissingDependencyError, match="not installed in .*make vllm"):
        generate(VLLMEngine(python=python), policy, [ask("w1")])
    assert not list(scratch.iterdir())
    with pytest.raises(MissingDependencyError, match=r"no interpreter '/no/python'"):
        generate(VLLMEngine(python="/no/python"), policy, [ask("w1")])


def test_a_policy_that_is_not_there_is_reported_before_anything_starts(ask: Ask) -> None:
    with pytest.raises(PolicyError, match="does not exist"):
        generate(VLLMEngine(python=sys.executable), Policy("no", "./no/model"), [ask("w1")])


def test_a_worker_dies_with_its_parent(tmp_path: Path) -> None:
    (tmp_path / "stub" / "vllm").mkdir(parents=True)
    (tmp_path / "stub" / "vllm" / "__init__.py").write_text(STUB)
    pid_file = tmp_path / "pid"
    environment = {
        **os.environ,
        "PYTHONPATH": f"{tmp_path / 'stub'}{os.pathsep}{Path(__file__).parents[2]}",
        "STUB_PID": str(pid_file),
    }
    command = [sys.executable, "-c", PARENT, str(tmp_path)]
    with subprocess.Popen(command, env=environment) as parent:
        try:
            worker = int(waited(lambda: pid_file.exists() and pid_file.read_text()))
            assert not gone(worker)
        finally:
            parent.send_signal(signal.SIGKILL)
    waited(lambda: gone(worker))


def waited(look: Callable[[], object], seconds: float = 20) -> str:
    """What `look` sees as soon as it is something."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if result := look():
            return str(result)
        time.sleep(0.05)
    raise AssertionError(f"nothing for {seconds} seconds")


def gone(process: int) -> bool:
    """Whether a process, which need not be a child of ours, has ended."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return True
    return state == "Z"


def test_further_arguments_reach_vllm_and_count_where_they_change_a_sample(
    policy: Policy, ask: Ask
) -> None:
    plain = VLLMEngine()
    engine = VLLMEngine(args={"quantization": "fp8", "max_num_batched_tokens": 4096})
    assert engine.args == {"quantization": "fp8"}
    assert identity(engine) == identity(VLLMEngine(args={"quantization": "fp8"})) != identity(plain)
    assert identity(VLLMEngine(args={"max_num_batched_tokens": 4096})) == identity(plain)
    job = engine._job_data(policy, prepare(policy, [ask("w1")], None), Sampling())
    assert job["engine"]["quantization"] == "fp8"
    assert job["engine"]["max_num_batched_tokens"] == 4096


@pytest.mark.parametrize(
    ("name", "mend"),
    [
        ("max_model_len", "set engine.max_model_len instead"),
        ("trust_remote_code", "own code is never run"),
        ("seed", "the engine sets it"),
    ],
)
def test_arguments_of_the_engines_own_are_refused(name: str, mend: str) -> None:
    with pytest.raises(ValueError, match=f"engine.args cannot hold {name}: .*{mend}"):
        VLLMEngine(args={name: 1})


def test_on_a_processor_every_prompt_is_computed_whole() -> None:
    assert whole_prompts(100) == {"enable_chunked_prefill": False, "max_num_batched_tokens": 8192}
    assert whole_prompts(9000)["max_num_batched_tokens"] == 9000  # vLLM needs the longest sequence

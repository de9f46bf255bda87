"""A real vLLM that the harness serves a judge with ends with the harness, however that ends."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

from harness.core.stages import StageStore
from harness.toy.world import ToyCorpus
from harness.training.optimisers import OptimiserSettings
from harness.training.sft import FineTunedPolicy

SECONDS = 10.0
"""By then every process of the server must have ended."""
EXCEPTION = "exception"
HOLDER = """
import sys
from pathlib import Path
from harness.judges.cached import CachedJudge
from harness.judges.vllm import VLLMClient
from harness.types import JudgeRequest, Message, ParsedVerdict

weights, folder, end = sys.argv[1:]
class Parser:
    def parse(self, replies):
        return ParsedVerdict(1.0)
    def follow_up(self, request, replies):
        return None
def advance(count):
    print("judging", flush=True)
    if end == "exception":
        raise RuntimeError("somewhere in the harness")
judge = VLLMClient(model="tiny-judge", path=weights, max_model_len=64, log=Path(folder, "log"))
asked = {"max_tokens": 8, "temperature": 0, "logprobs": True, "top_logprobs": 5}
requests = [JudgeRequest(str(i), (Message("user", "a b " * (i % 9) + "c"),), {**asked, "seed": i})
            for i in range(5000)]
CachedJudge(client=judge, store=Path(folder, "v.sqlite")).judge(requests, Parser(), advance)
"""


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A small policy; vLLM's attention on a CPU needs heads of 32 at least."""
    if find_spec("vllm") is None:
        pytest.skip("vLLM is not installed")
    settings = OptimiserSettings(learning_rate=5e-3, batch=64, epochs=1)
    sizes = {"hidden": 64, "layers": 1, "heads": 2, "intermediate": 64}
    recipe = FineTunedPolicy(name="t", texts=ToyCorpus(count=64), optimiser=settings, **sizes)
    return StageStore(tmp_path_factory.mktemp("stages")).materialize(recipe.weights()).path


@contextmanager
def judging(weights: str, folder: Path, end: str) -> Iterator[subprocess.Popen[str]]:
    """A harness that is in the midst of asking a judge that it serves."""
    command = [sys.executable, "-c", HOLDER, weights, str(folder), end]
    with (folder / "err").open("w") as err:
        holder = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=err, text=True)
    try:
        assert holder.stdout is not None
        line = holder.stdout.readline()
        assert line == "judging\n", (folder / "err").read_text()[-2000:]
        yield holder
        holder.wait(SECONDS)
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()


def status(pid: int) -> tuple[str, int]:
    """A process's state and its parent; ("", 0) once it has gone."""
    try:
        state, parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:2]
    except OSError:
        return "", 0
    return state, int(parent)


def descendants(pid: int) -> set[int]:
    pids = [int(path.name) for path in PROCESSES.glob("[0-9]*")]
    parents = {number: status(number) for number in pids}
    below = {pid}
    while more := {child for child, (_, parent) in parents.items() if parent in below} - below:
        below |= more
    return below - {pid}


PROCESSES = Path("/proc")
SIGNALS = {
    "SIGTERM": [signal.SIGTERM],
    "SIGHUP": [signal.SIGHUP],
    "SIGINT twice": [signal.SIGINT, signal.SIGINT],
    "SIGKILL": [signal.SIGKILL],
    EXCEPTION: [],
}


@pytest.mark.vllm
@pytest.mark.skipif(sys.platform != "linux", reason="descendants are known on Linux only")
@pytest.mark.parametrize(
    "end",
    [
        pytest.param(end, marks=[pytest.mark.faults, pytest.mark.timeout(300)] if i else [])
        for i, end in enumerate(SIGNALS)
    ],
)
def test_a_served_judge_ends_with_the_harness(weights: str, tmp_path: Path, end: str) -> None:
    with judging(weights, tmp_path, end) as holder:
        pids = descendants(holder.pid) if end != EXCEPTION else server_processes(tmp_path)
        for number in SIGNALS[end]:
            holder.send_signal(number)
            time.sleep(0.2)
        start = time.monotonic()
        while any(status(pid)[0] not in ("", "Z") for pid in pids):
            assert time.monotonic() - start < SECONDS, sorted(map(status, pids))
            time.sleep(0.1)
        seconds = time.monotonic() - start
    sys.stdout.write(f"{end}: {len(pids)} processes ended within {seconds:.1f} s\n")
    assert len(pids) >= 3  # the guard, the API server, the engine
    assert not server_processes(tmp_path)


def server_processes(folder: Path) -> set[int]:
    """The processes that write the server's log."""
    log = folder / "log"
    writers = set()
    for path in PROCESSES.glob("[0-9]*"):
        try:
            if (path / "fd" / "1").readlink() == log and status(int(path.name))[0] != "Z":
                writers.add(int(path.name))
        except OSError:
            continue
    return writers

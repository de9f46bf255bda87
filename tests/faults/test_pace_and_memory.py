"""Figure 9: near the ideal rate, and as little memory for many requests as for few."""

import json
import subprocess
import sys

import pytest

RUN = """
import json, sys, time
from pathlib import Path
from harness.judges.client import OpenAIClient
from harness.judges.cached import CachedJudge
from harness.types import JudgeRequest, Message, ParsedVerdict

url, path, count, concurrency = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])

class Requests:
    def __len__(self):
        return count
    def __getitem__(self, i):
        text = f"{i:06d} " + "word " * 300 + f"say {i % 10}"
        return JudgeRequest(str(i), (Message("user", text),), {"max_tokens": 1})

class Reader:
    def parse(self, replies):
        return ParsedVerdict(float(replies[-1].content))
    def follow_up(self, request, replies):
        return request

begun = time.monotonic()
judge = CachedJudge(
    client=OpenAIClient(model="j", base_url=url, concurrency=concurrency), store=path)
verdicts = judge.judge(Requests(), Reader(), lambda _: None)
seconds = time.monotonic() - begun
right = sum(v.parsed.value == i % 10 for i, v in enumerate(verdicts))
# not getrusage's, which remembers the process that started this one
status = Path("/proc/self/status").read_text()
peak = int(status.partition("VmHWM:")[2].split()[0]) / 1024
print(json.dumps({"seconds": seconds, "right": right, "peak": peak}))
"""
SERVER = """
import sys, time
from harness.judges.toy_server import serving
from harness.types import Reply
latency = float(sys.argv[1])
def grade(messages, request):
    time.sleep(latency)
    return Reply(messages[-1].content.split()[-1], None, "stop", "j", 400, 1)
with serving(grade, model="j") as url:
    print(url, flush=True)
    sys.stdin.read()
"""


def run(tmp_path, count, concurrency, latency):
    command = [sys.executable, "-c", SERVER, str(latency)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True) as far:
        url = far.stdout.readline().strip()
        line = [sys.executable, "-c", RUN, url, str(tmp_path / "v.sqlite"), count, concurrency]
        done = subprocess.run([str(part) for part in line], capture_output=True, text=True)
        far.kill()
    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout)
    assert outcome["right"] == count
    return outcome


@pytest.mark.parametrize(
    ("count", "latency", "least"),
    [(320, 0.5, 0.0), pytest.param(3200, 1.0, 0.9, marks=pytest.mark.faults)],
)
def test_the_rate_is_near_the_ideal_one(tmp_path, figure, count, latency, least):
    """The short one is recorded only: its rate is the machine's load."""
    outcome = run(tmp_path, count, 64, latency)
    share = count * latency / 64 / outcome["seconds"]
    figure("share of the ideal rate", round(share, 3))
    assert share >= least


@pytest.mark.parametrize(
    ("count", "most"), [(2_000, 500), pytest.param(100_000, 500, marks=pytest.mark.faults)]
)
@pytest.mark.timeout(1800)
def test_memory_stays_flat(tmp_path, figure, count, most):
    outcome = run(tmp_path, count, 64, 0.0)
    figure("peak in MB", round(outcome["peak"]))
    assert outcome["peak"] < most

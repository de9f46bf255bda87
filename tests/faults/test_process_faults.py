"""Figures 3, 4 and 6: kills, many processes, and a full disk."""

import json
import random
import resource
import signal
import subprocess
import sys
import time

import pytest

from harness.judges.store import maintenance
from harness.judges.store.database import open_store

JUDGE = """
import json, random, sys, threading
from harness.errors import HarnessError
from harness.judges.client import OpenAIClient
from harness.judges.cached import CachedJudge
from harness.types import JudgeRequest, Message, ParsedVerdict
from pathlib import Path

url, path, count, threads, limit, concurrency = sys.argv[1], Path(sys.argv[2]), *map(
    int, sys.argv[3:7])
if limit:
    import resource, signal
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

class Reader:
    def parse(self, replies):
        return ParsedVerdict(float(replies[-1].content))
    def follow_up(self, request, replies):
        return request

requests = [JudgeRequest(str(i), (Message("user", "x" * 2000 + f" say {i}"),), {"max_tokens": 1})
            for i in range(count)]
found, errors = [], []

def work(seed):
    order = requests[:]
    random.Random(seed).shuffle(order)
    client = OpenAIClient(model="j", base_url=url, concurrency=concurrency)
    try:
        verdicts = CachedJudge(client=client, store=path).judge(order, Reader(), lambda _: None)
        found.append(sorted((int(v.request_id), v.parsed.value) for v in verdicts))
    except HarnessError as error:
        errors.append(str(error))

print("go", flush=True)
workers = [threading.Thread(target=work, args=(i,)) for i in range(threads)]
[worker.start() for worker in workers]
[worker.join() for worker in workers]
print(json.dumps({"found": found, "errors": errors}))
"""


def start(url, path, count, threads=1, limit=0, concurrency=64):
    command = [sys.executable, "-c", JUDGE, url, str(path)]
    command += [str(number) for number in (count, threads, limit, concurrency)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process):
    out, err = process.communicate(timeout=300)
    assert "Traceback" not in err, err
    return json.loads(out.splitlines()[-1])


def expected(count):
    return [[i, float(i)] for i in range(count)]


def committed(path):
    """Return what stands in the store, by what was asked."""
    with open_store(path) as store:
        rows = store.connection.execute("SELECT request FROM attempt").fetchall()
    return [json.loads(row[0])["messages"][-1]["content"] for row in rows]


@pytest.mark.parametrize(
    ("kills", "count"), [(3, 300), pytest.param(50, 805, marks=pytest.mark.faults)]
)
def test_killed_at_random_moments(counting, tmp_path, figure, kills, count):
    judge, path, rng = counting(latency=0.2), tmp_path / "v.sqlite", random.Random(11)
    span = 0.9 * count * 0.2 / 32 / (kills / 2)
    for _ in range(kills):
        process, before = start(judge.url, path, count), sum(judge.asked.values())
        assert process.stdout.readline() == "go\n"
        while sum(judge.asked.values()) == before and process.poll() is None:
            time.sleep(0.005)
        time.sleep(rng.uniform(0, span))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        time.sleep(0.25)  # what was under way has reached the judge by now
        stored = committed(path) if path.exists() else []
        assert len(stored) == len(set(stored))
        settled = {what: judge.asked[what] for what in stored}
        if len(stored) == count:
            break
    assert finish(start(judge.url, path, count)) == {"found": [expected(count)], "errors": []}
    assert all(judge.asked[what] == times for what, times in settled.items())
    assert len(judge.asked) == count
    twice = sum(judge.asked.values()) - count
    figure("paid twice", twice)
    assert twice <= kills * 64
    assert max(judge.asked.values()) <= 1 + kills
    assert maintenance.verify(path).faults == ()


@pytest.mark.parametrize(
    ("processes", "threads", "count"),
    [(3, 2, 200), pytest.param(8, 4, 2000, marks=pytest.mark.faults)],
)
def test_many_processes_ask_every_key_once(counting, tmp_path, figure, processes, threads, count):
    judge, path = counting(latency=0.02), tmp_path / "v.sqlite"
    running = [start(judge.url, path, count, threads, 0, 8) for _ in range(processes)]
    for process in running:
        outcome = finish(process)
        assert outcome["errors"] == []
        assert outcome["found"] == [expected(count)] * threads
    assert sum(judge.asked.values()) == len(judge.asked) == count
    figure("requests", sum(judge.asked.values()))
    assert maintenance.verify(path) == maintenance.StoreHealth(count, ())


OFFSETS = [4_096, 200_000] + [
    pytest.param(random.Random(i).randrange(1_000, 900_000), marks=pytest.mark.faults)
    for i in range(20)
]


@pytest.mark.parametrize("limit", OFFSETS)
def test_a_full_disk_is_reported_and_damages_nothing(counting, tmp_path, limit):
    judge, path, count = counting(), tmp_path / "v.sqlite", 400
    outcome = finish(start(judge.url, path, count, limit=limit))
    assert outcome["found"] == []
    assert str(path) in outcome["errors"][0]
    assert "free some space" in outcome["errors"][0]
    stored = committed(path)
    assert len(stored) < count
    assert len(stored) == len(set(stored))
    before = dict(judge.asked)
    assert finish(start(judge.url, path, count))["found"] == [expected(count)]
    assert all(judge.asked[what] == before[what] for what in stored)
    assert maintenance.verify(path) == maintenance.StoreHealth(count, ())


def test_the_command_names_the_path_of_a_full_disk(shared, replay, tmp_path):
    server = replay()
    answers = shared / "replay/alpaca_eval/answers/gemma-7b-it.json.gz"
    command = [sys.executable, "-m", "harness", "eval", "--bench", "alpaca-eval"]
    command += ["--answers", str(answers), "--assets", str(shared / "assets")]
    command += ["--base-url", server.url, "--workspace", str(tmp_path / "runs")]

    def limited():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))

    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=limited)
    assert done.returncode == 7
    assert str(tmp_path / "runs/verdicts.sqlite") in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "runs/results").exists()

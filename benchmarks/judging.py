"""How fast a judge is asked: this client beside alpaca-eval's own, against one server.

    python benchmarks/judging.py [--requests 1610] [--latency 1.0] [--concurrency 64] [--json FILE]

Both ask the same prompts of a server in a process of its own that takes its time over every answer.
alpaca-eval runs at its default settings, in a process of its own because it changes global ones.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

THREADS = 5
"""Requests that alpaca-eval's client has on the way at its default settings."""
SERVER = """
import math, sys, time
from harness.judges.toy_server import serving
from harness.types import Reply
TOP = ((("m", math.log(0.75)), ("M", math.log(0.25))),)
def grade(messages, request):
    time.sleep(float(sys.argv[1]))
    return Reply("m", TOP, "stop", "gpt-4-1106-preview", 900, 1)
with serving(grade, model="gpt-4-1106-preview") as url:
    print(url, flush=True)
    sys.stdin.read()
"""
OURS = """
import json, sys, time
from pathlib import Path
from harness.judges.client import OpenAIClient
from harness.judges.cached import CachedJudge
from harness.types import JudgeRequest, Message, ParsedVerdict
class Reader:
    def parse(self, replies):
        return ParsedVerdict(1.0)
    def follow_up(self, request, replies):
        return None
url, folder, count, concurrency = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
asked = {"max_tokens": 1, "temperature": 1, "top_p": 1.0, "logprobs": True, "top_logprobs": 5}
requests = [JudgeRequest(str(i), (Message("user", f"{i} " + "word " * 800),), asked)
            for i in range(count)]
client = OpenAIClient(model="gpt-4-1106-preview", base_url=url, concurrency=concurrency)
begun = time.monotonic()
judge = CachedJudge(client=client, store=Path(folder) / "v.sqlite")
verdicts = judge.judge(requests, Reader(), lambda _: None)
print(json.dumps({"seconds": time.monotonic() - begun, "answers": len(verdicts)}))
"""
THEIRS = """
import json, os, sys, time
os.environ |= {"OPENAI_API_KEY": "none", "OPENAI_API_BASE": sys.argv[1]}
from alpaca_eval.decoders.openai import openai_completions
count = int(sys.argv[3])
prompts = [f"<|im_start|>user\\n{i} " + "word " * 800 + "<|im_end|>" for i in range(count)]
begun = time.monotonic()
found = openai_completions(prompts, "gpt-4-1106-preview", max_tokens=1, temperature=1,
                           logprobs=True, top_logprobs=5, requires_chatml=True)
told = {"seconds": time.monotonic() - begun, "answers": len(found["completions"])}
print(json.dumps(told))
"""


@contextmanager
def server(latency):
    """Serve a judge that takes its time; yield its address."""
    command = [sys.executable, "-c", SERVER, str(latency)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.kill()


def timed(program, url, *numbers):
    """Run a client in a process of its own; return its answers a second."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-W", "ignore", "-c", program, url, folder, *map(str, numbers)]
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        sys.exit(done.stderr)
    rates = json.loads(done.stdout.splitlines()[-1])
    return rates["answers"] / rates["seconds"]


def measured(options):
    """Return both rates in answers a second, and how much of its own ideal each one is."""
    with server(options.latency) as url:
        ours = timed(OURS, url, options.requests, options.concurrency)
        theirs = timed(THEIRS, url, options.theirs)
    return {
        "preference-harness": beside(ours, options.concurrency / options.latency),
        "alpaca-eval 0.6.6": beside(theirs, THREADS / options.latency),
    }


def beside(rate, ideal):
    return {"answers_a_second": rate, "ideal": ideal, "share_of_ideal": rate / ideal}


def main(arguments=None):
    """Print both rates, each beside its own ideal."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=1610)
    parser.add_argument("--theirs", type=int, default=160, help="requests of alpaca-eval's client")
    parser.add_argument("--latency", type=float, default=1.0)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args(arguments)
    rates = measured(options)
    for name, rate in rates.items():
        print(f"{name:19} {rate['answers_a_second']:6.1f} a second, ", end="")
        print(f"{rate['share_of_ideal']:.0%} of {rate['ideal']:g}")
    ours, theirs = (rate["answers_a_second"] for rate in rates.values())
    print(f"ratio               {ours / theirs:6.1f}")
    if options.json:
        options.json.write_text(json.dumps(rates, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""Figure 8: a canary key through every other figure's scenario is in no file, log or traceback.

The server repeats the key wherever a server can: in headers, reasons, errors, replies, names and
redirects, as it came and escaped as JSON. All logs are on.
"""

import gzip
import json
import os
import random
import resource
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote

import pytest

SECRET = "7Qm2_Zx9-Lr4Tn8Vb1Wc6Yd3Kf5Gh0Js2Pq7Rt9"
KEY = f"sk-proj-{SECRET}"


NEEDLE = SECRET.encode()


def leaks(folder, *texts):
    """Return where the key is: in the bytes of which files, of which of the texts."""
    files = [path for path in Path(folder).rglob("*") if path.is_file()]
    contents = {path: path.read_bytes() for path in files}
    contents |= {
        f"{p} unpacked": gzip.decompress(d) for p, d in contents.items() if p.suffix == ".gz"
    }
    contents |= {f"text {i}": text for i, text in enumerate(texts)}
    return [str(name) for name, data in contents.items() if NEEDLE in data]


def spelt(authorization):
    """Return a header, and the key in it as it came and as an address may hold it."""
    key = authorization.removeprefix("Bearer ")
    return f"{authorization} {key} {quote(key)}"


class Echo(BaseHTTPRequestHandler):
    """The first part of the path names what goes wrong."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    @property
    def echoed(self):
        return spelt(self.headers["authorization"] or "")

    def do_GET(self):
        self.server.heard[self.headers["authorization"]] += 1
        mode = self.path.split("/")[1]
        row = {"id": "j", "object": "model", "shutdown_date": self.echoed, "owned_by": self.echoed}
        body = {"object": "list", "data": [row, {"id": self.echoed}]}
        self.send(401 if mode == "401" else 200, error(self.echoed) if mode == "401" else body)

    def do_POST(self):
        self.server.heard[self.headers["authorization"]] += 1
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        mode = self.path.split("/")[1]
        with self.server.lock:
            self.server.asked += 1
            turn = self.server.asked
        if mode == "mixed":  # every other call, and another fault each time
            mode = PASSING[turn // 2 % len(PASSING)] if turn % 2 else "well"
        if mode == "slow":
            time.sleep(0.1)
        getattr(self, f"do_{mode}", self.answer)(body)

    def answer(self, body, model=None, content=None):
        top = {"token": "m", "logprob": -0.1, "bytes": None}
        content = f"m {self.echoed}" if content is None else content
        choice = {"index": 0, "finish_reason": "stop", "message": {"content": content}}
        choice["logprobs"] = {"content": [{**top, "top_logprobs": [top]}]} if content else None
        usage = {"prompt_tokens": 25, "completion_tokens": 1, "total_tokens": 26}
        reply = {
            "id": self.echoed,
            "model": model or body["model"],
            "system_fingerprint": self.echoed,
        }
        self.send(200, {**reply, "choices": [choice], "usage": usage})

    def do_empty(self, body):
        self.answer(body, content="")

    def do_strange(self, body):
        self.answer(body, model=f"k {self.echoed}")

    def do_escaped(self, body):
        self.answer(body, content="m ESCAPED")

    def do_429(self, body):
        self.send(429, error(self.echoed, "rate_limit_exceeded"), {"retry-after": "0.01"})

    def do_500(self, body):
        self.send(500, error(self.echoed))

    def do_503(self, body):
        self.send(503, self.echoed.encode())

    def do_400(self, body):
        self.send(400, error(self.echoed, "unsupported_parameter"))

    def do_long(self, body):
        odd = len(body["messages"][-1]["content"]) % 2
        refusal = error(self.echoed, "context_length_exceeded")
        self.send(400, refusal) if odd else self.answer(body)

    def do_401(self, body):
        self.send(401, error(f"Incorrect API key provided: {self.echoed}", "invalid_api_key"))

    def do_403(self, body):
        self.send(403, error(self.echoed, self.echoed))

    def do_404(self, body):
        self.send(404, f"<html>{self.echoed}</html>".encode())

    def do_quota(self, body):
        self.send(429, error(self.echoed, "insufficient_quota"))

    def do_hang(self, body):
        time.sleep(0.6)
        self.close_connection = True

    def do_reset(self, body):
        self.close_connection = True

    def do_cut(self, body):
        self.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n" + self.echoed.encode())
        self.close_connection = True

    def do_garbage(self, body):
        self.send(200, f"<html>{self.echoed}</html>".encode())

    def do_header(self, body):
        self.wfile.write(f"HTTP/1.1 200 OK\r\nno header {self.echoed}\r\n\r\n".encode())
        self.close_connection = True

    def do_redirect(self, body):
        key = (self.headers["authorization"] or "").removeprefix("Bearer ")
        at = f"http://127.0.0.1:{self.server.server_port}/well/v1/chat/completions?key={key}"
        self.send(307, b"", {"location": at})

    def do_circle(self, body):
        self.send(307, b"", {"location": f"{self.path}?{quote(self.echoed)}"[:400]})

    def send(self, status, body, headers=()):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        key = (self.headers["authorization"] or "").removeprefix("Bearer ")
        if b"ESCAPED" in data and key:
            data = data.replace(b"ESCAPED", "".join(f"\\u{ord(c):04x}" for c in key).encode())
        self.send_response(status, f"reason {key}")
        headers_of_body = {"content-type": "application/json", "content-length": str(len(data))}
        for name, value in {
            **headers_of_body,
            "x-echo": self.echoed,
            "x-request-id": key,
            **dict(headers),
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)


def error(message, code=None):
    return {"error": {"message": message, "type": code, "code": code, "param": message}}


PASSING = ["429", "500", "503", "reset", "cut", "garbage", "header", "empty", "redirect", "hang"]
LASTING = ["400", "401", "403", "404", "quota", "strange"]
WELL = ["well", "escaped", "long", "mixed"]


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        """A client that has gone is what some of the tests are about."""


@contextmanager
def echoing():
    server = Server(("127.0.0.1", 0), Echo)
    server.heard, server.lock, server.asked = Counter(), threading.Lock(), 0
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(scope="module")
def echo():
    with echoing() as server:
        yield server
        assert set(server.heard) <= {f"Bearer {KEY}", None}
        assert server.heard[f"Bearer {KEY}"] > 20


JUDGE = """
import logging, sys, traceback
from pathlib import Path
from harness.judges.store import maintenance
from harness.judges.batch import cached_judge
from harness.judges.client import OpenAIClient
from harness.judges.panel import JudgePanel
from harness.judges.cached import judge_options
from harness.types import JudgeRequest, Message, ParsedVerdict

from rich.console import Console
from rich.traceback import Traceback

logging.basicConfig(level="DEBUG")
PRETTY = "pretty" in sys.argv

class Reader:
    def parse(self, replies):
        return ParsedVerdict(0.5) if replies[-1].content else None
    def follow_up(self, request, replies):
        return request

def requests(count):
    return [JudgeRequest(str(i), (Message("user", "x" * 99 + str(i)),), {"max_tokens": 1})
            for i in range(count)]

def print_locals(error):
    # as the hook of an application might: every frame's variables, of the causes too
    while error is not None:
        lines = traceback.TracebackException.from_exception(error, capture_locals=True).format()
        print("".join(lines), file=sys.stderr)
        if PRETTY:
            shown = Traceback.from_exception(type(error), error, error.__traceback__,
                                             show_locals=True, locals_max_string=None)
            Console(file=sys.stderr, width=200).print(shown)
        error = error.__cause__ or error.__context__

def judged(url, mode, path, count, **terms):
    client = OpenAIClient(model="gpt-4-0613", base_url=f"{url}/{mode}/v1", timeout=0.4, attempts=3,
                         patience=2, concurrency=8)
    asked = client
    if mode == "panel":
        others = [client.model_copy(update={"model": m}) for m in "ab"]
        asked = JudgePanel(members=[client, *others])
    judge = cached_judge(asked, path, judge_options(**terms))
    try:
        found = judge.judge(requests(count), Reader(), lambda _: None)
        print([(v.parsed, v.model, v.text, v.refusal) for v in found], judge, client, asked)
    except BaseException as error:
        print(mode, type(error).__name__, error)
        print_locals(error)
    for say in (judge.usage, judge.estimate_cost):
        try:
            print(say(requests(count), Reader()))
        except Exception as error:
            print_locals(error)
    try:
        print(maintenance.summary(path), maintenance.verify(path))
        print(maintenance.export(path, path.with_suffix(".gz")))
    except Exception as error:
        print_locals(error)

if __name__ == "__main__":
    url, folder, count, *modes = sys.argv[1:]
    print("go", flush=True)
    for mode in [mode for mode in modes if mode != "pretty"]:
        name, _, budget = mode.partition("=")
        terms = {"budget": float(budget)} if budget else {}
        judged(url, name, Path(folder) / f"{name}.sqlite", int(count), **terms)
"""


def started(echo, folder, count, *modes, limit=None):
    """Start a program that judges, with the key, with all logs and with a dump of a crash."""

    def limited():
        if limit:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    options = ("-X", "faulthandler", "-X", "dev", "-W", "ignore")
    command = [sys.executable, *options, "-c", JUDGE, echo.url, str(folder), str(count), *modes]
    # into files: processes that wait for each other must not wait for a reader of pipes as well
    folder_of_outputs = Path(folder) / "output"
    folder_of_outputs.mkdir(exist_ok=True)
    number = len(list(folder_of_outputs.iterdir()))
    out, err = (folder_of_outputs / f"{number}.{name}" for name in ("out", "err"))
    with open(out, "wb") as first, open(err, "wb") as second:
        streams = {"stdout": first, "stderr": second, "env": environment()}
        process = subprocess.Popen(command, **streams, preexec_fn=limited)
    process.outputs = out, err
    return process


def wait_for(process):
    """Return what a program has said, when it has ended."""
    process.wait(300)
    return tuple(path.read_bytes() for path in process.outputs)


def environment():
    return {**os.environ, "OPENAI_API_KEY": KEY, "OPENAI_LOG": "debug", "NO_COLOR": "1"}


def judged(echo, folder, count, *modes, limit=None):
    return wait_for(started(echo, folder, count, *modes, limit=limit))


def test_a_leak_would_be_found(tmp_path):
    for i, text in enumerate([KEY, f"x{KEY[5:]}", *spelt(f"Bearer {KEY}").split()[1:]]):
        (tmp_path / str(i)).write_text(text)
    with gzip.open(tmp_path / "packed.gz", "wt") as file:
        file.write(KEY)
    contents = leaks(tmp_path, b"nothing", KEY.encode())
    plain = {str(path) for path in tmp_path.iterdir()} - {str(tmp_path / "packed.gz")}
    assert set(contents) == plain | {"text 1", f"{tmp_path / 'packed.gz'} unpacked"}


def test_whatever_a_server_does_with_the_key_it_is_nowhere(echo, tmp_path):
    modes = ["mixed", "escaped", "long", "401", "header", "panel", "thrifty=0.003"]
    out, err = judged(echo, tmp_path, 8, *modes)
    assert b"thrifty BudgetError" in out
    assert b"401 JudgeRefusedError" in out
    assert b"ParsedVerdict(value=0.5" in out
    assert b"httpcore" in err
    assert b"HTTP Request" in err
    assert b"***" in err
    assert b"self = " in err  # variables are shown
    assert leaks(tmp_path, out, err) == []


@pytest.mark.faults
@pytest.mark.parametrize("mode", [*WELL, *PASSING, *LASTING, "circle", "panel"])
def test_every_fault_alone(echo, tmp_path, mode):
    out, err = judged(echo, tmp_path, 60, "pretty", mode, "thrifty=0.003")
    assert b"HTTP Request" in err or mode in ("reset", "header", "hang", "cut")
    assert leaks(tmp_path, out, err) == []


@pytest.mark.parametrize("kills", [1, pytest.param(20, marks=pytest.mark.faults)])
def test_kills_and_damage_and_many_processes(echo, tmp_path, kills):
    rng = random.Random(3)
    for _ in range(kills):
        process = started(echo, tmp_path, 40, "slow")
        while not process.outputs[0].read_bytes():
            time.sleep(0.02)
        time.sleep(rng.uniform(0.1, 0.5))
        process.send_signal(signal.SIGABRT if rng.random() < 0.5 else signal.SIGKILL)
        process.wait()
        assert leaks(tmp_path) == []  # the write-ahead log is there
    running = [started(echo, tmp_path, 40, "slow") for _ in range(2)]
    for process in running:
        process.wait(120)
    path = tmp_path / "slow.sqlite"
    data = bytearray(path.read_bytes())
    for _ in range(40):
        data[rng.randrange(200, len(data))] ^= 0xFF
    path.write_bytes(data)
    judged(echo, tmp_path, 40, "slow")
    texts = command("verdicts", "verify", "--workspace", tmp_path, code=None)
    assert leaks(tmp_path, *texts) == []


@pytest.mark.parametrize(
    "limit",
    [60_000, *(pytest.param(n, marks=pytest.mark.faults) for n in (4096, 150_000, 300_000))],
)
def test_a_full_disk(echo, tmp_path, limit):
    out, err = judged(echo, tmp_path, 100, "well", limit=limit)
    assert b"StoreError" in out
    assert leaks(tmp_path, out, err) == []


def command(*line, code=0, **more):
    """Run a command with the key; return what it says."""
    arguments = [sys.executable, "-X", "faulthandler", "-m", "harness", *map(str, line)]
    done = subprocess.run(arguments, capture_output=True, timeout=300, env=environment(), **more)
    assert code is None or done.returncode == code, done.stderr[-2000:]
    assert b"Traceback" not in done.stderr or b"DEBUG" in done.stderr
    return done.stdout, done.stderr


@pytest.fixture
def evaluation(shared, tmp_path):
    """Return the options of an evaluation of twenty answers."""
    with gzip.open(shared / "replay/alpaca_eval/answers/gemma-7b-it.json.gz", "rt") as file:
        (tmp_path / "answers.json").write_text(json.dumps(json.load(file)[:20]))
    arguments = ["--answers", tmp_path / "answers.json", "--assets", shared / "assets"]
    arguments += ["--bench", "alpaca-eval", "--allow-missing", "--workspace", tmp_path / "runs"]
    return [*arguments, "--set", "judge.timeout=1", "--set", "judge.patience=2"]


def test_the_commands_from_the_doctor_to_the_report(echo, shared, tmp_path, evaluation):
    runs = ("--workspace", tmp_path / "runs")
    url = ("--base-url", f"{echo.url}/long/v1")
    assets = ("--assets", shared / "assets")
    texts = [
        *command("judge", "doctor", "compatible", "--set", "model=j", *url, *assets, code=9),
        *command("eval", *evaluation, *url),
        *command("verdicts", "export", tmp_path / "v.jsonl.gz", *runs),
        *command("report", *runs, "--out", tmp_path / "report.html", code=None),
    ]
    assert b"requests have no verdict: the judge's server refused them" in b"".join(texts)
    assert (tmp_path / "runs/results").is_dir()
    assert leaks(tmp_path, *texts) == []


@pytest.mark.faults
@pytest.mark.parametrize("mode", [*WELL, *PASSING, *LASTING])
def test_the_command_with_every_fault(echo, tmp_path, evaluation, mode):
    url = ("--base-url", f"{echo.url}/{mode}/v1", "--budget", "5")
    texts = command("eval", *evaluation, *url, "--dry-run", code=None)
    texts += command("eval", *evaluation, *url, code=None)
    texts += command("leaderboard", "--workspace", tmp_path / "runs", code=None)
    assert leaks(tmp_path, *texts) == []


@pytest.mark.faults
@pytest.mark.parametrize("mode", ["well", "401", "strange", "400", "garbage"])
def test_the_doctor_and_the_bridge(echo, shared, tmp_path, mode):
    url = ("--base-url", f"{echo.url}/{mode}/v1", "--assets", shared / "assets")
    texts = command("judge", "doctor", "compatible", "--set", "model=j", *url, "--json", code=None)
    arguments = ("--to", "compatible", "--set", "judge.model=j", "--prompts", "3", "--again", "2")
    texts += command(
        "judge", "bridge", *arguments, *url, "--workspace", tmp_path / "runs", code=None
    )
    texts += command("report", "--workspace", tmp_path / "runs", code=None)
    assert leaks(tmp_path, *texts) == []


@pytest.mark.faults
@pytest.mark.parametrize("fault", ["429", "500", "503", "hang", "reset", "cut", "garbage"])
def test_the_recorded_judge_with_every_fault(replay, tmp_path, evaluation, fault):
    server = replay("--faults", f"{fault}=0.3", "--fault-once")
    texts = command("eval", *evaluation, "--base-url", server.url)
    assert leaks(tmp_path, *texts) == []

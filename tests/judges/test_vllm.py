"""A judge that the harness serves itself: started, asked, stopped; its log is kept."""

import signal
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.core.config import build
from harness.core.stages import StageStore
from harness.errors import ConfigError, JudgeError
from harness.judges import vllm
from harness.judges.cached import CachedJudge
from harness.judges.vllm import VLLMClient
from harness.toy.world import ToyCorpus
from harness.training.sft import FineTunedPolicy
from harness.training.trainer import OptimiserSettings
from harness.types import JudgeRequest, Message, ParsedVerdict

STUB = """
import sys, http.server
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
print("loading weights", flush=True)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def command(text):
    return lambda port: [sys.executable, "-c", text, str(port)]


def alive(url):
    try:
        return urllib.request.urlopen(url.removesuffix("v1"), timeout=2).status == 200
    except OSError:
        return False


def test_a_server_is_awaited_and_stopped(tmp_path):
    with vllm.serving(command(STUB), tmp_path / "log", 30) as url:
        assert alive(url)
    assert not alive(url)
    assert "loading weights" in (tmp_path / "log").read_text()


def test_a_server_is_stopped_whatever_happens(tmp_path):
    with pytest.raises(KeyboardInterrupt), vllm.serving(command(STUB), tmp_path / "l", 30) as url:
        raise KeyboardInterrupt
    assert not alive(url)


def test_a_server_that_ends_is_reported_with_its_last_words(tmp_path):
    text = "print('a'); print('\\x1b[31mout of memory\\x1b[0m'); raise SystemExit(3)"
    message = r"ended \(3\): a \|.*out of memory.*whole log is"
    with (
        pytest.raises(JudgeError, match=message) as caught,
        vllm.serving(command(text), tmp_path / "l", 30),
    ):
        pass
    assert "\x1b" not in str(caught.value)


def test_a_server_that_does_not_come_up_is_given_up(tmp_path):
    start = time.monotonic()
    with (
        pytest.raises(JudgeError, match="start_seconds"),
        vllm.serving(command("import time; time.sleep(60)"), tmp_path / "l", 1),
    ):
        pass
    assert time.monotonic() - start < 20


def ask_one_that_has_died(path):
    text = STUB.replace("serve_forever()", "handle_request(); print('no memory', flush=True)")
    with vllm.serving(command(text), path, 30):
        time.sleep(1)
        raise JudgeError("gone")


def test_a_server_that_dies_later_is_reported_too(tmp_path):
    with pytest.raises(JudgeError, match=r"ended while it was in use: .*no memory"):
        ask_one_that_has_died(tmp_path / "log")


TALKING = """
import os, sys
print(sys.argv, dict(os.environ), flush=True)
""" + STUB.replace("import sys, http.server", "import http.server")


def test_the_server_gets_no_key_and_its_log_holds_none(tmp_path, monkeypatch):
    key = "sk-proj-4rNq8VtZ2mXw7Lc5"
    for name in ("OPENAI_API_KEY", "AZURE_OPENAI_API_KEY", "VLLM_API_KEY"):
        monkeypatch.setenv(name, key)
    monkeypatch.setenv("HF_TOKEN", "hf_token")
    with vllm.serving(command(TALKING), tmp_path / "log", 30):
        pass
    text = (tmp_path / "log").read_text()
    assert key not in text
    assert "hf_token" in text  # without it gated weights could not be fetched
    judge = VLLMClient(model="m", path="p")
    assert judge._client("http://127.0.0.1:1/v1").key() == "none"


def test_a_key_on_the_servers_command_line_is_refused_and_not_shown():
    spec = {"use": "harness.judges.vllm:VLLMClient", "model": "m", "path": "p"}
    with pytest.raises(ConfigError, match="leave out --api-key") as caught:
        build({**spec, "arguments": ["--api-key", "sk-proj-4rNq8VtZ2mXw7Lc5"]})
    assert "4rNq8" not in str(caught.value)


class Reader:
    def parse(self, replies):
        top = replies[-1].top_logprobs
        return ParsedVerdict(float(len(top[0]))) if top else None

    def follow_up(self, request, replies):
        return None


def test_the_servers_log_lies_beside_the_verdicts(tmp_path, monkeypatch):
    logs = []

    @contextmanager
    def recorded(command, log, seconds):
        logs.append(log)
        raise JudgeError("not started")
        yield

    monkeypatch.setattr(vllm, "serving", recorded)
    monkeypatch.setattr(VLLMClient, "_check_vllm", lambda self: None)
    asked = [JudgeRequest("0", (Message("user", "m"),), {})]
    for log in (None, tmp_path / "mine"):
        client = VLLMClient(model="m", path="p", log=log)
        judge = CachedJudge(client=client, store=tmp_path / "runs" / "v.sqlite")
        with pytest.raises(JudgeError, match="not started"):
            judge.judge(asked, Reader(), lambda _: None)
    assert logs == [tmp_path / "runs" / "vllm-judge.log", tmp_path / "mine"]


@pytest.mark.vllm
def test_a_judge_with_open_weights_is_served_and_asked(tmp_path):
    probe = [sys.executable, "-c", "import vllm"]
    if subprocess.run(probe, capture_output=True).returncode:
        pytest.skip("vLLM is not installed")
    # its attention on a processor needs heads of 32 at least
    recipe = FineTunedPolicy(
        name="tiny",
        texts=ToyCorpus(count=64),
        optimiser=OptimiserSettings(learning_rate=5e-3, batch=64, epochs=1),
        hidden=64,
        layers=2,
        heads=2,
        intermediate=64,
    )
    weights = StageStore(tmp_path / "stages").materialize(recipe.weights()).path
    judge = VLLMClient(
        model="tiny-judge",
        path=weights,
        max_model_len=64,
        log=tmp_path / "judge.log",
        start_seconds=240,
    )
    asked = {"max_tokens": 1, "temperature": 0, "logprobs": True, "top_logprobs": 5}
    requests = [JudgeRequest(str(i), (Message("user", "a b"),), asked) for i in range(3)]
    stored = CachedJudge(client=judge, store=tmp_path / "v.sqlite")
    verdicts = stored.judge(requests, Reader(), lambda _: None)
    assert [verdict.parsed.value for verdict in verdicts] == [5.0] * 3
    assert {verdict.model for verdict in verdicts} == {"tiny-judge"}
    assert stored.usage(requests, Reader()).dollars == 0
    assert (tmp_path / "judge.log").stat().st_size > 0
    assert stored.judge(requests, Reader(), lambda _: None) == verdicts


STUBBORN = (
    """
import os, signal, subprocess, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
worker = "import os, signal, time; os.setsid(); signal.signal(signal.SIGTERM, signal.SIG_IGN); "
worker += "print('worker', os.getpid(), flush=True); time.sleep(600)"
subprocess.Popen([sys.executable, "-c", worker])
print("server", os.getpid(), flush=True)
"""
    + STUB
)
HOLDER = """
import sys, time
from pathlib import Path
from harness.judges import vllm
command = lambda port: [sys.executable, "-c", sys.argv[1], str(port)]
with vllm.serving(command, Path(sys.argv[2]), 60):
    print("up", flush=True)
    time.sleep(600)
"""


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="descendants are known on Linux only")
@pytest.mark.parametrize(
    "signals",
    [[signal.SIGKILL], [signal.SIGTERM], [signal.SIGHUP], [signal.SIGINT, signal.SIGINT]],
    ids=lambda signals: "+".join(s.name for s in signals),
)
def test_a_server_ends_with_the_harness_however_that_ends(tmp_path, signals):
    """The server and a worker in a session of its own ignore SIGTERM."""
    log = tmp_path / "log"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, STUBBORN, str(log)], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout.readline() == "up\n"
    pids = [int(line.split()[1]) for line in log.read_text().splitlines() if "er " in line[:7]]
    assert len(pids) == 2
    assert all(map(is_running, pids))
    for number in signals:
        holder.send_signal(number)
        time.sleep(0.2)
    ended = time.monotonic()
    while any(map(is_running, pids)) and time.monotonic() - ended < 10:
        time.sleep(0.1)
    assert not any(map(is_running, pids))
    holder.wait(10)
    holder.stdout.close()

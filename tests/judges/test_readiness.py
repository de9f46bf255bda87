"""What is known of a judge before a policy answers: its key, its server, its model, its end."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from harness.core.config import build
from harness.errors import (
    JudgeError,
    JudgeIdentityError,
    JudgeRefusedError,
    MissingDependencyError,
    PolicyError,
)
from harness.judges import readiness
from harness.judges.batch import cached_judge
from harness.judges.cached import CachedJudge, JudgeOptions, ReplayClient
from harness.judges.client import OpenAIClient
from harness.judges.panel import JudgePanel
from harness.judges.vllm import VLLMClient

KEY = "sk-canary-2718281828"


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        self.send(*self.server.listing)

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.calls.append(body)
        self.send(*self.server.reply)

    def send(self, status, data):
        text = json.dumps(data).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


@contextmanager
def serving(listing=(404, {}), reply=(200, {})):
    """A server whose list of models, and whose answer to any call, is (status, body)."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.listing, server.reply, server.calls = listing, reply, []
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", server.calls
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def models(*names):
    return 200, {"object": "list", "data": [{"id": name} for name in names]}


def refusal(status, code=None):
    return status, {"error": {"message": f"said of {KEY}", "code": code}}


def look(url, **fields):
    readiness.check_client(OpenAIClient(model="j", base_url=url, **fields), ())


def test_a_model_that_is_listed_is_not_asked():
    with serving(models("k", "j")) as (url, calls):
        look(url)
    assert calls == []


@pytest.mark.parametrize("listing", [(404, {}), (405, {}), (500, {}), (503, {})])
def test_a_server_without_a_list_is_left_to_the_run(listing):
    with serving(listing) as (url, calls):
        look(url)
    assert calls == []


@pytest.mark.parametrize(
    ("listing", "reply"),
    [
        (models("k"), (200, {})),  # takes names that it does not list
        (models("models/j"), (200, {})),
        ((200, []), (200, {})),
        ((403, {}), (200, {})),  # a key that may call, and may not list
        ((429, {}), (429, {})),  # busy
        (models("k"), (400, {})),  # the parameters of a small call are another matter
        (models("k"), (500, {})),
    ],
)
def test_a_model_that_is_not_listed_is_tried_with_a_small_call(listing, reply):
    with serving(listing, reply) as (url, calls):
        look(url, deployment="d")
    assert [(call["model"], call["max_tokens"]) for call in calls] == [("d", 16)]


@pytest.mark.parametrize("reply", [refusal(404), refusal(400, "model_not_found")])
def test_a_model_that_is_not_served_is_refused_with_those_that_are(reply):
    message = r"j at .* not served .*lists k, l\); .*model="
    with (
        serving(models("k", "l"), reply) as (url, _),
        pytest.raises(JudgeRefusedError, match=message),
    ):
        look(url)


@pytest.mark.parametrize("answers", [(refusal(401), (200, {})), (models(), refusal(401))])
def test_a_key_that_is_refused_is_not_shown(answers, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    message = "refuses the key .*OPENAI_API_KEY"
    with serving(*answers) as (url, _), pytest.raises(JudgeRefusedError, match=message) as caught:
        look(url)
    assert KEY not in str(caught.value)


def test_a_server_that_is_not_there_is_reported():
    with serving() as (url, _):
        pass
    with pytest.raises(JudgeError, match="no server listens there; start it first"):
        look(url)


def test_a_missing_key_an_alias_and_a_retired_model_need_no_server(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with pytest.raises(JudgeError, match="needs a key: set OPENAI_API_KEY"):
        readiness.check_client(OpenAIClient(model="j"), ("j-2025-01-01",))
    with pytest.raises(JudgeIdentityError, match="alias"):
        readiness.check_client(OpenAIClient(model="gpt-9"), ())
    with pytest.raises(JudgeRefusedError, match="gpt-4-1106-preview retired on 2026-10-23"):
        readiness.check_client(build({"use": "harness.judges.client:OpenAIClient", **RETIRED}), ())


RETIRED = {"model": "gpt-4-1106-preview", "retires": "2026-10-23"}


def test_every_kind_of_judge_is_looked_at(tmp_path):
    with serving() as (url, _):
        pass
    gone = OpenAIClient(model="j", base_url=url)
    replay = ReplayClient(model="j")
    CachedJudge(client=replay, store=tmp_path / "v.sqlite").check_ready()
    panel = JudgePanel(members=[replay, replay, gone])
    for client, options in ((gone, {}), (gone, {"batch": "submit"}), (panel, {})):
        judge = cached_judge(client, tmp_path / "v.sqlite", JudgeOptions(**options))
        with pytest.raises(JudgeError, match="cannot be reached"):
            judge.check_ready()
    assert not (tmp_path / "v.sqlite").exists()


def test_a_judge_that_is_to_be_served_needs_vllm_and_its_weights(tmp_path, monkeypatch):
    monkeypatch.setattr("harness.judges.vllm.find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match="make vllm"):
        readiness.check_client(VLLMClient(model="m", path="org/model"), ())
    with pytest.raises(MissingDependencyError, match="no-such-python has not"):
        readiness.check_client(VLLMClient(model="m", path="org/m", python="no-such-python"), ())
    with pytest.raises(PolicyError, match="holds no model"):
        readiness.check_client(VLLMClient(model="m", path=str(tmp_path)), ())
    monkeypatch.setattr("harness.judges.vllm.find_spec", lambda name: object())
    readiness.check_client(VLLMClient(model="m", path="org/model"), ())

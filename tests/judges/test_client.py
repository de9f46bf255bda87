"""The client against a server that misbehaves in every way that can be put into a few lines."""

import asyncio
import gzip
import itertools
import json
import socket
import time
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler

import pytest

from harness.core import bodies, http
from harness.core.config import identity
from harness.errors import JudgeError, JudgeRefusedError
from harness.judges import retry
from harness.judges.cached import CachedJudge
from harness.judges.client import OpenAIClient
from harness.judges.session import ListQueue
from harness.types import JudgeRequest, Message, ParsedVerdict
from tests.judges.stub_server import running

GOOD = {"model": "served", "choices": [{"message": {"content": "A"}, "finish_reason": "stop"}]}
KEY = "sk-canary-3141592653"


class Misbehaving(BaseHTTPRequestHandler):
    """Answers the n-th request with the n-th of `script`, and then well."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def do_POST(self):
        server = self.server
        self.rfile.read(int(self.headers["content-length"]))
        with server.lock:
            server.times.append(time.monotonic())
            server.keys.add(self.headers["authorization"])
            step = server.script.pop(0) if server.script else (200, GOOD)
            server.in_flight += 1
            server.most_in_flight = max(server.most_in_flight, server.in_flight)
        deadline = time.monotonic() + 0.5
        while server.in_flight < server.awaited and time.monotonic() < deadline:
            time.sleep(0.002)
        with server.lock:
            server.in_flight -= 1
        if step == "hang":
            server.ended.wait(20)
        if step in ("hang", "reset"):
            self.close_connection = True
            return
        status, body, *headers = step
        text = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in (("content-type", "application/json"), *headers):
            self.send_header(name, value)
        self.send_header("content-length", str(len(text) + (10 if step == CUT else 0)))
        self.end_headers()
        self.wfile.write(text)
        self.close_connection = step == CUT


CUT = (200, b'{"choices": [{"mess')


def server(*script, awaited=0):
    """Serve; an answer is held back for up to half a second until `awaited` are in flight."""
    counts = {"awaited": awaited, "in_flight": 0, "most_in_flight": 0}
    return running(Misbehaving, script=list(script), times=[], keys=set(), **counts)


def judge(served, **fields):
    base_url = f"http://127.0.0.1:{served.server_port}/v1"
    return OpenAIClient(model="j", base_url=base_url, **{"concurrency": 1, **fields})


def ask(client, count=1):
    queue = ListQueue([{"model": "j", "messages": [], "n": i} for i in range(count)])
    client.ask(queue)
    return {index: raw.text for index, raw in queue.replies.items()}


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(retry, "FIRST_PAUSE", 0.01)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)


def error(code, message="told"):
    return {"error": {"message": message, "type": code, "code": code}}


@pytest.mark.parametrize(
    "fault",
    [
        (429, error("rate_limit_exceeded")),
        (500, error("server_error")),
        (502, b"<html>bad gateway</html>"),
        (503, error("overloaded")),
        (408, error("timeout")),
        "reset",
        CUT,
        (200, b"<html>"),
        (200, b"\xff\xfe"),
        (200, error("overloaded")),
        (200, {"choices": []}),
        (200, b"null"),
    ],
    ids=str,
)
def test_what_passes_is_tried_again(fault):
    with server(fault, fault) as served:
        replies = ask(judge(served))
    assert json.loads(replies[0]) == GOOD
    assert len(served.times) == 3


def test_a_hanging_server_is_left_after_the_timeout():
    start = time.monotonic()
    with server("hang") as served:
        replies = ask(judge(served, timeout=0.3))
    assert json.loads(replies[0]) == GOOD
    assert time.monotonic() - start < 5


def test_retry_after_may_be_a_number_or_a_date():
    assert http.retry_after({"retry-after": "0.4"}) == 0.4
    in_a_minute = formatdate(time.time() + 60, usegmt=True)
    assert http.retry_after({"retry-after": in_a_minute}) == pytest.approx(60, abs=5)
    assert http.retry_after({"retry-after": formatdate(0, usegmt=True)}) == 0


def test_a_date_to_retry_after_is_compared_with_the_servers_clock():
    server = {"date": formatdate(1000, usegmt=True), "retry-after": formatdate(1030, usegmt=True)}
    assert http.retry_after(server) == 30
    assert http.retry_after(server | {"date": "soon"}) == 0


def test_retry_after_is_honoured():
    with server((429, error("rate_limit_exceeded"), ("retry-after", "0.4"))) as served:
        ask(judge(served))
    assert served.times[1] - served.times[0] >= 0.4


def test_a_rate_limit_that_lasts_is_waited_for_longer_and_longer(monkeypatch):
    monkeypatch.setattr(retry, "FIRST_PAUSE", 0.1)
    limit = (429, error("rate_limit_exceeded"), ("retry-after", "0.01"))
    with server(limit, limit, limit) as served:
        ask(judge(served))
    pauses = [after - before for before, after in itertools.pairwise(served.times)]
    # drawn from half to the whole of 0.2 and 0.4 after the first, which is the server's
    assert pauses[0] < 0.1
    assert pauses[1] >= 0.1
    assert pauses[2] >= 0.2


@pytest.mark.parametrize("header", ["", "soon", "Wed, 99 Foo"])
def test_a_retry_after_that_says_nothing_is_ignored(header):
    assert http.retry_after({"retry-after": header}) is None


@pytest.mark.parametrize(
    ("status", "code", "mend"),
    [
        (400, "unsupported_parameter", "--judge"),
        (401, "invalid_api_key", "OPENAI_API_KEY"),
        (403, "forbidden", "--judge"),
        (404, "model_not_found", "--base-url"),
        (429, "insufficient_quota", "add credit"),
    ],
)
def test_what_is_for_good_stops_at_once(status, code, mend):
    start = time.monotonic()
    with server(*[(status, error(code))] * 9) as served, pytest.raises(JudgeRefusedError) as caught:
        ask(judge(served, concurrency=64), count=300)
    assert len(served.times) <= 3
    assert time.monotonic() - start < 5
    text = str(caught.value)
    for part in (str(status), code, "told", "the judge j", f":{served.server_port}/v1", mend):
        assert part in text
    assert "\n" not in text


def test_what_was_answered_before_the_end_is_kept():
    queue = ListQueue([{"model": "j", "messages": [], "n": i} for i in range(30)])
    script = [(200, GOOD)] * 5 + [(404, error("model_not_found"))]
    with server(*script) as served, pytest.raises(JudgeRefusedError):
        judge(served).ask(queue)
    assert sorted(queue.replies) == [0, 1, 2, 3, 4]


def test_a_judge_that_always_fails_is_given_up():
    with server(*[(500, error("server_error"))] * 99) as served:
        with pytest.raises(JudgeError, match="failed 3 times in a row .*500"):
            ask(judge(served, attempts=3))
        assert len(served.times) == 3


def test_a_judge_that_is_not_there_is_reported_within_seconds():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    start = time.monotonic()
    with pytest.raises(JudgeError, match=r"cannot reach the judge j at http.*--base-url"):
        ask(OpenAIClient(model="j", base_url=f"http://127.0.0.1:{port}/v1"), count=50)
    assert time.monotonic() - start < 5


@pytest.mark.parametrize("limit", [1, 2, 8])
def test_as_many_requests_are_in_flight_as_allowed(limit):
    with server(awaited=limit + 1) as served:
        assert len(ask(judge(served, concurrency=limit), count=4 * limit)) == 4 * limit
    assert served.most_in_flight == limit


def test_a_judge_is_asked_inside_a_running_event_loop():
    async def main(served):
        return ask(judge(served, concurrency=2), count=5)

    with server((429, error("rate_limit_exceeded"))) as served:
        replies = asyncio.run(main(served))
    assert [json.loads(replies[i]) for i in range(5)] == [GOOD] * 5


def test_verdicts_are_cached_inside_a_running_event_loop(tmp_path):
    class Parser:
        def parse(self, replies):
            return ParsedVerdict(float(replies[-1].content == "A"))

        def follow_up(self, request, replies):
            return None

    async def main(served):
        client = judge(served, served_as=("served",))
        requests = [JudgeRequest(str(i), (Message("user", f"{i}"),), {}) for i in range(4)]
        return CachedJudge(client=client, store=tmp_path / "v.sqlite").judge(
            requests, Parser(), lambda _: None
        )

    with server() as served:
        verdicts = asyncio.run(main(served))
        assert asyncio.run(main(served)) == verdicts
        assert len(served.times) == 4
    assert [verdict.parsed.value for verdict in verdicts] == [1.0] * 4


def test_a_server_elsewhere_needs_a_key(monkeypatch):
    with pytest.raises(JudgeError, match="set OPENAI_API_KEY"):
        ask(OpenAIClient(model="j", base_url="http://192.0.2.1/v1"))
    monkeypatch.setenv("OPENAI_BASE_URL", "http://192.0.2.2/v1")
    with pytest.raises(JudgeError, match=r"192\.0\.2\.2.* set OTHER"):
        ask(OpenAIClient(model="j", api_key_env="OTHER"))


def test_the_key_is_sent_and_never_shown(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with server((401, error("invalid_api_key", f"wrong key: {KEY}\x1b[31m"))) as served:
        with pytest.raises(JudgeError) as caught:
            ask(judge(served))
        assert served.keys == {f"Bearer {KEY}"}
    assert KEY not in str(caught.value)
    assert "\x1b" not in str(caught.value)


def test_where_and_how_it_is_asked_does_not_change_its_identity():
    plain = identity(OpenAIClient(model="j"))
    other = OpenAIClient(model="j", base_url="http://x/v1", timeout=1, concurrency=1, attempts=1)
    assert identity(other) == plain
    assert identity(OpenAIClient(model="k")) != plain


def test_a_wait_at_the_end_of_a_run_is_not_waited_for():
    headers = (("x-ratelimit-remaining-requests", "0"), ("x-ratelimit-reset-requests", "60s"))
    started = time.monotonic()
    with server((200, GOOD, *headers)) as served:
        assert len(ask(judge(served))) == 1
    assert time.monotonic() - started < 5


def test_a_reply_that_is_larger_than_any_is_a_failure_and_fills_no_memory(monkeypatch):
    monkeypatch.setattr(bodies.read_async, "__defaults__", (100_000,))
    blanks = gzip.compress(b" " * 10_000_000)
    script = [(200, b" " * 200_000), (200, blanks, ("content-encoding", "gzip")), (200, GOOD)]
    with server(*script) as served:
        client = judge(served)
        queue = ListQueue([{"model": "j", "messages": []}])
        client.ask(queue)
    assert len(queue.failures) == 2
    assert all("larger than" in reason for reason in queue.failures)
    assert len(queue.replies) == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_refused_at_once_and_neither_key_nor_prompt_goes_elsewhere(
    monkeypatch, status
):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with server() as other:
        target = f"http://127.0.0.1:{other.server_port}/v1/chat/completions?{KEY}"
        script = [(status, b"moved", ("location", target))] * 9
        with server(*script) as served, pytest.raises(JudgeRefusedError) as caught:
            ask(judge(served, concurrency=8), count=50)
        assert len(served.times) <= 3
        assert other.times == []
    assert f"{status}: it redirects to http://127.0.0.1:{other.server_port}/v1" in str(caught.value)
    assert KEY not in str(caught.value)
    assert "\n" not in str(caught.value)

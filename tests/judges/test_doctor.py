"""The doctor, against servers that can do different things."""

import asyncio
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from typer.testing import CliRunner

from harness.cli.main import app
from harness.errors import JudgeError
from harness.judges.cached import ReplayClient
from harness.judges.client import OpenAIClient
from harness.judges.doctor import examine

KEY = "sk-canary-2718281828"


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        rules = self.server.rules
        if rules.get("key"):
            self.send(401, {"error": {"message": f"bad key {self.headers['authorization']}"}})
            return
        rows = [{"id": "j", "object": "model", "shutdown_date": rules.get("ends")}, {"id": "k"}]
        self.send(200, {"object": "list", "data": rows})

    def do_POST(self):
        rules = self.server.rules
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if rules.get("refuses") in body:
            self.send(400, {"error": {"message": f"unsupported: {rules['refuses']}", "code": "x"}})
            return
        if (limit := rules.get("minimum")) and body.get("max_tokens", limit) < limit:
            message = f"Invalid 'max_tokens': expected a value >= {limit}, but got 1 instead."
            self.send(400, {"error": {"message": message, "code": "integer_below_min_value"}})
            return
        if rules.get("hot") and body.get("temperature", 1) != 1:
            self.send(400, {"error": {"message": "temperature takes 1 only", "code": "x"}})
            return
        blank = " " if rules.get("spaced") else ""
        tops = [{"token": f"{blank}m", "logprob": -0.1}, {"token": f"{blank}M", "logprob": -2.4}]
        has_logprobs = body.get("logprobs") and not rules.get("mute")
        logprobs = {"content": [{**tops[0], "top_logprobs": tops}]} if has_logprobs else None
        content = f"{blank}m" if body.get("logprobs") else "My verdict is [[A>B]]. Rating: [[7]]"
        message = {"role": "assistant", "content": content}
        choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": logprobs}
        headers = {"x-ratelimit-limit-requests": "500", "x-ratelimit-limit-tokens": "30000"}
        name = body["model"] if rules.get("echo") else rules.get("serves", "j")
        self.send(200, {"model": name, "choices": [choice]}, headers)

    def send(self, status, data, headers=()):
        text = json.dumps(data).encode()
        self.send_response(status)
        for name, value in {"content-length": str(len(text)), **dict(headers)}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text)


@contextmanager
def server(**rules):
    served = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served.daemon_threads, served.rules = True, rules
    threading.Thread(target=served.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{served.server_port}/v1"
    finally:
        served.shutdown()
        served.server_close()


def look(url, **fields):
    return {
        finding.subject: finding
        for finding in examine(OpenAIClient(model="j", base_url=url, **fields))
    }


def test_a_judge_that_fits_is_reported_in_full():
    with server(ends="2027-01-14") as url:
        findings = look(url)
    assert {name for name, finding in findings.items() if finding.state == "bad"} == set()
    assert findings["shutdown date"].detail == "2027-01-14"
    assert findings["log-probabilities"].state == "ok"
    assert findings["rate limits"].detail == "500 requests, 30000 tokens a minute"
    assert findings["serves"].detail == "j"
    assert "s a call" in findings["answers"].detail


@pytest.mark.parametrize(
    ("rules", "what", "state", "detail"),
    [
        ({"refuses": "max_tokens"}, "length limit", "bad", "token_limit=max_completion_tokens"),
        ({"refuses": "logprobs"}, "log-probabilities", "note", "not available"),
        ({"mute": True}, "log-probabilities", "note", "not available"),
        ({"serves": "k"}, "serves", "bad", "--accept-judge k"),
        ({"refuses": "messages"}, "answers", "bad", "unsupported: messages"),
        ({"key": True}, "key", "bad", "set OPENAI_API_KEY"),
        ({"ends": 1_800_000_000}, "shutdown date", "note", "2027-01-15"),
        ({"ends": float("nan")}, "shutdown date", "note", "not a date: nan"),
        ({"ends": 10**20}, "shutdown date", "note", "not a date: 100000000000000000000"),
        ({"ends": -(10**30)}, "shutdown date", "note", "not a date: -1000"),
        ({"ends": {"at": [1]}}, "shutdown date", "note", "not a date: {'at': [1]}"),
        ({"ends": "2027\x1b[31m"}, "shutdown date", "note", "2027 [31m"),
    ],
)
def test_what_does_not_fit_is_reported(monkeypatch, rules, what, state, detail):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with server(**rules) as url:
        findings = look(url)
    assert findings[what].state == state
    assert detail in findings[what].detail
    assert all(KEY not in finding.detail for finding in findings.values())


def test_a_server_that_is_not_there_is_reported():
    findings = look("http://127.0.0.1:9/v1")
    assert (findings["reachable"].state, "no server listens" in findings["reachable"].detail) == (
        "bad",
        True,
    )


def test_the_doctor_works_inside_a_running_event_loop():
    async def main(url):
        return look(url)

    with server() as url:
        assert asyncio.run(main(url))["serves"].detail == "j"


def test_a_model_that_is_not_listed_is_noted():
    with server() as url:
        assert look(url, deployment="other")["listed"].state == "note"


def test_a_judge_without_a_server_has_no_doctor():
    with pytest.raises(JudgeError, match="ReplayClient has no address"):
        examine(ReplayClient(model="j"))


def test_the_command_tells_prices_and_ends_with_an_error_where_it_must(shared):
    options = ["judge", "doctor", "compatible", "--assets", str(shared / "assets"), "--json"]
    with server() as url:
        line = [*options, "--set", "model=j", "--base-url", url]
        done = CliRunner().invoke(app, line, catch_exceptions=False)
        assert json.loads(done.stdout)["benchmarks"]["alpaca-eval"]["calls"] == 805
        line = [*options, "--set", "model=k", "--base-url", url]
        with pytest.raises(JudgeError, match="cannot be used as it is: serves"):
            CliRunner().invoke(app, line, catch_exceptions=False)


def run_doctor(shared, *options, **rules):
    """Return the exit code, the findings and the names of the priced benchmarks."""
    line = ["judge", "doctor", "compatible", "--assets", str(shared / "assets"), "--json"]
    with server(**rules) as url:
        line += ["--set", "model=j", "--base-url", url, *options]
        done = CliRunner().invoke(app, line)
    data = json.loads(done.stdout)
    findings = {row["subject"]: row for row in data["findings"]}
    return done.exit_code, findings, set(data["benchmarks"])


def test_every_benchmark_is_asked_for_as_it_will_be(shared):
    code, findings, priced = run_doctor(shared)
    assert code == 0
    assert {"alpaca-eval", "arena-hard", "mt-bench"} <= priced
    assert all(findings[name]["detail"] == "can" for name in priced)


@pytest.mark.parametrize(
    ("rules", "settings"),
    [
        ({"minimum": 16}, "--set judge.parameters.max_tokens=16"),
        ({"spaced": True}, "--set any_spelling=true"),
        ({"refuses": "top_p"}, "--set judge.parameters.top_p=null"),
    ],
)
def test_the_settings_with_which_a_benchmark_can_be_graded_are_named(shared, rules, settings):
    code, findings, priced = run_doctor(shared, "--bench", "alpaca-eval", **rules)
    assert code != 0
    assert f"can with {settings} (departs from the protocol)" in findings["alpaca-eval"]["detail"]
    assert priced == {"alpaca-eval"}


def test_a_judge_may_grade_one_benchmark_and_not_another(shared):
    code, findings, priced = run_doctor(shared, "--bench", "alpaca-eval", mute=True)
    assert (code != 0, priced) == (True, set())
    assert "no log-probabilities" in findings["alpaca-eval"]["detail"]
    assert run_doctor(shared, "--bench", "arena-hard", mute=True)[::2] == (0, {"arena-hard"})


def test_a_judge_that_takes_temperature_one_only_needs_a_setting(shared):
    code, findings, _ = run_doctor(shared, "--bench", "arena-hard", hot=True)
    assert code != 0
    assert "--set judge.parameters.temperature=1" in findings["arena-hard"]["detail"]


def test_a_server_that_repeats_any_name_is_noted():
    with server(echo=True) as url:
        assert "repeats whatever name" in look(url)["name"].detail
    with server() as url:
        assert "name" not in look(url)


def test_the_command_warns_of_a_price_that_is_old(shared):
    options = ["judge", "doctor", "compatible", "--assets", str(shared / "assets")]
    with server(serves="gpt-4-0613") as url:
        line = [*options, "--set", "model=gpt-4-0613", "--base-url", url]
        done = CliRunner().invoke(app, line, catch_exceptions=False)
    assert "$30 / $60 since 2023-06-13" in done.stdout
    assert "warning: the price was looked up long ago: check https://" in done.stdout

"""Requests that fail for ever: a run ends without their verdicts, and says why."""

import asyncio
import os
import signal
import subprocess
import sys
import time

import pytest

from harness.core.refusals import MAX_UNEXPLAINED, RefusalTracker
from harness.core.secrets import Secret
from harness.errors import JudgeError, JudgeRefusedError
from harness.evaluation.run import refusal_notes
from harness.judges import retry
from harness.judges.cached import CachedJudge, judge_options
from harness.judges.circuit_breaker import CircuitBreaker
from harness.judges.client import OpenAIClient
from harness.judges.concurrency import AdaptiveConcurrency
from harness.judges.open_requests import OpenRequests
from harness.judges.store import maintenance
from harness.types import Graded, JudgeRequest, Message, ParsedVerdict
from tests.judges.stub_server import READER, server

COUNT = 30


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(retry, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(retry, "LONGEST_PAUSE", 0.05)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "v.sqlite"


def grade(served, path, count=COUNT, options=None, **fields):
    requests = [JudgeRequest(str(i), (Message("user", f"say {i}"),), {}) for i in range(count)]
    client = OpenAIClient(model="j", base_url=served.url, **{"attempts": 3, **fields})
    return CachedJudge(client=client, store=path, options=options).judge(
        requests, READER, lambda _: None
    )


FAILURES = [
    (500, {"error": {"message": "Out of range float values", "code": "InternalServerError"}}, 0),
    (503, "busy", 0),
    (200, {"choices": []}, 0),
    (200, {"error": {"message": "provider returned error"}}, 0),
    (200, {"error": {"message": "upstream", "code": 502}}, 0),
    (200, {"model": "j", "choices": [{"message": {}, "error": {"code": 502, "message": "no"}}]}, 0),
    (200, ["no completion"], 0),
    (200, {"success": False, "message": "no route"}, 0),
    (424, {"error": "Request failed during generation", "error_type": "generation"}, 0),
    (499, {"error": {"code": 499, "message": "CANCELLED"}}, 0),
    (504, {"detail": "timeout"}, 0.2),
]


@pytest.mark.parametrize("failure", FAILURES, ids=str)
@pytest.mark.parametrize(("poison", "concurrency"), [(0, 1), (0, 8), (COUNT - 1, 8)])
def test_a_request_that_always_fails_ends_without_a_verdict(path, failure, poison, concurrency):
    with server(lambda word: failure if word == poison else None) as served:
        verdicts = grade(served, path, concurrency=concurrency)
        assert served.asked.count(poison) == 3
        again = grade(served, path, concurrency=concurrency)
        assert len(served.asked) == COUNT - 1 + 3  # nothing is asked again
    assert again == verdicts
    assert verdicts[poison].parsed is None
    assert verdicts[poison].refusal.startswith("no reply in 3 attempts (")
    others = [v.parsed.value for v in verdicts if v.parsed is not None]
    assert others == [float(i) for i in range(COUNT) if i != poison]
    assert maintenance.verify(path) == maintenance.StoreHealth(COUNT, ())
    (note,) = refusal_notes(Graded("x", "j", (), (), tuple(verdicts)))
    assert "1 of 30 requests have no verdict" in note
    assert "--retry-unread" in note


def test_the_reason_is_the_servers_own(path):
    with server(lambda word: FAILURES[0] if word == 3 else None) as served:
        verdicts = grade(served, path)
    reason = "500: InternalServerError: Out of range float values"
    assert verdicts[3].refusal == f"no reply in 3 attempts ({reason})"


def test_the_words_of_a_body_that_is_no_completion_are_shown(path):
    page = {"html": "Sign in to the proxy"}
    with server(lambda word: (200, page, 0)) as served, pytest.raises(JudgeError) as caught:
        grade(served, path)
    assert "Sign in to the proxy" in str(caught.value)


def test_it_is_asked_again_where_that_is_wanted(path):
    with server(lambda word: FAILURES[0] if word == 3 else None) as served:
        grade(served, path)
        still_failing = grade(served, path, retry_missing=True)  # nothing else is left to ask
        assert still_failing[3].refusal
        served.rule = lambda word: None
        again = grade(served, path, options=judge_options(retry_missing=True))
        assert again[3].parsed == ParsedVerdict(3.0)
        assert grade(served, path)[3].parsed == ParsedVerdict(3.0)


def test_one_that_hangs_is_given_up_after_its_own_time_out_and_the_patience(path):
    start = time.monotonic()
    with server(lambda word: (200, None, 9) if word == 3 else None) as served:
        verdicts = grade(served, path, timeout=0.5, patience=0.6, attempts=16)
    assert verdicts[3].refusal.endswith("(no answer within 0.5 s)")
    assert sum(v.parsed is not None for v in verdicts) == COUNT - 1
    assert time.monotonic() - start < 6


def test_one_that_fails_is_given_up_after_the_patience_where_it_has_attempts_left(path):
    with server(lambda word: FAILURES[0] if word == 3 else None) as served:
        verdicts = grade(served, path, patience=0.5, attempts=10_000)
    assert verdicts[3].refusal.startswith("no reply in ")
    assert sum(v.parsed is not None for v in verdicts) == COUNT - 1


def test_a_judge_that_fails_from_some_time_on_is_at_fault_itself(path):
    with server(lambda word: FAILURES[0] if word >= 10 else None) as served:
        with pytest.raises(JudgeError, match=r"failed 3 times in a row \(500: .*continues"):
            grade(served, path, concurrency=8)
        served.rule = lambda word: None
        verdicts = grade(served, path)
    assert [verdict.parsed.value for verdict in verdicts] == list(range(COUNT))


def test_a_judge_that_has_answered_nothing_is_at_fault_itself(path):
    with server(lambda word: FAILURES[0]) as served:
        with pytest.raises(JudgeError, match="failed 3 times in a row"):
            grade(served, path, count=2)
        served.rule = lambda word: None
        assert all(verdict.parsed for verdict in grade(served, path))


def test_a_few_that_fail_are_few_and_many_are_the_judges_fault(path):
    few, many = range(MAX_UNEXPLAINED), range(2, 2 + 2 * MAX_UNEXPLAINED)
    with server(lambda word: FAILURES[0] if word in few else None) as served:
        assert sum(not v.refusal for v in grade(served, path)) == COUNT - MAX_UNEXPLAINED
    failing = server(lambda word: FAILURES[0] if word in many else None)
    with failing as served, pytest.raises(JudgeError, match="failed 3 times in a row"):
        grade(served, path.with_name("w.sqlite"))


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, {"error": {"message": "insufficient credits", "code": 402}, "user_id": "u"}),
        (200, {"error": {"message": "Provider: insufficient credits"}}),
        (200, {"error": {"message": "insufficient credits", "code": "insufficient_quota"}}),
        (402, {"error": {"message": "insufficient credits"}}),
        (429, {"error": {"message": "insufficient credits", "type": "insufficient_quota"}}),
        (503, {"detail": "insufficient credits"}),
        (200, {"choices": [{"error": {"message": "insufficient credits", "code": 402}}]}),
        (200, {"base_resp": {"status_code": 1008, "status_msg": "insufficient credits"}}),
        (200, {"code": 1113, "msg": "insufficient credits", "success": False}),
    ],
)
def test_a_judge_out_of_credit_stops_the_run_in_its_own_words(path, status, body):
    with server(lambda word: (status, body, 0) if word >= 10 else None) as served:
        with pytest.raises(JudgeRefusedError, match="insufficient credits.*add credit"):
            grade(served, path, concurrency=2)
        assert len(served.asked) <= 14


RETRY_INFO = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "1s"}]
DELAYS = [
    [{"error": {"code": 429, "message": "Quota exceeded", "details": RETRY_INFO}}],
    {"error": {"code": 429, "message": "Quota exceeded", "details": RETRY_INFO}},
    {"error": {"message": "Rate limit reached. Please try again in 1s.", "type": "tokens"}},
    {"error": {"message": "Rate limit is exceeded. Try again in 1 second."}},
    {"error": {"message": "slow down"}, "retry_after": 1},
    {"message": "You are being rate limited.", "retry_after": 1.0, "code": 0},
    {"error": "Please retry in 1.0s."},
    {"detail": "Please wait 1 second"},
]


@pytest.mark.parametrize("body", DELAYS, ids=str)
def test_a_delay_in_the_body_of_a_rate_limit_is_waited_for(path, body):
    times = []

    def rule(word):
        times.append(time.monotonic())
        return (429, body, 0) if len(times) == 1 else None

    with server(rule) as served:
        assert grade(served, path, count=1, patience=0.4)[0].parsed == ParsedVerdict(0.0)
    assert 1.0 <= times[1] - times[0] < 3


def test_a_slow_judge_finishes_though_its_replies_take_longer_than_the_patience(path):
    with server(lambda word: (200, None, 0.8)) as served:
        verdicts = grade(served, path, count=6, concurrency=6, timeout=5, patience=0.3)
        assert len(served.asked) == 6
    assert all(verdict.parsed for verdict in verdicts)


def test_one_slow_reply_of_many_is_waited_for(path):
    with server(lambda word: (200, None, 1.2 if word == 3 else 0)) as served:
        verdicts = grade(served, path, timeout=5, patience=0.3)
        assert len(served.asked) == COUNT
    assert all(verdict.parsed for verdict in verdicts)


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_silence_counts_from_the_time_out_of_what_was_in_flight_first():
    async def main():
        clock = Clock()
        requests = OpenRequests(lambda: 0, clock)
        assert requests.first_due(0, 120) == float("-inf")
        async with requests.admit() as first, requests.admit() as second:
            first.started = 10.0
            assert requests.first_due(30.0, 120) == 130  # its own start counts
            assert requests.first_due(5.0, 120) == 125  # no later than from the last reply on
            clock.now = 130.0
            requests.record_failure(first, "no answer in time", is_own=True)
            first.started = second.started = 131.0
            # the second attempt deserves no patience, and the new request none beyond the first's
            assert requests.first_due(5.0, 120) == 125
            second.started = None
            assert requests.first_due(5.0, 120) == float("-inf")
            assert requests.first_due(140.0, 120) == 251  # a reply has come since

    asyncio.run(main())


def test_time_in_which_the_process_did_not_run_is_no_silence(monkeypatch):
    monkeypatch.setattr(retry, "WATCH_SECONDS", 0.01)
    clock = Clock()
    circuit = CircuitBreaker("j", 45, clock)
    caller = retry.RetryingCaller(
        client=None,
        judge_name="j",
        secret=Secret(""),
        timeout=5,
        attempts=5,
        limiter=AdaptiveConcurrency(8, clock),
        breaker=circuit,
        refusals=RefusalTracker(),
        open_requests=OpenRequests(lambda: 0, clock),
    )

    async def main():
        watch = asyncio.create_task(caller.watch())
        for seconds in (600, 0, 44):  # asleep for ten minutes, awake, asleep again
            await asyncio.sleep(0.03)
            clock.now += seconds
        await asyncio.sleep(0.03)
        assert not watch.done()
        for _ in range(50):  # silent while it looks every second
            clock.now += 1
            await asyncio.sleep(0.02)
        with pytest.raises(JudgeError):
            await watch

    asyncio.run(main())


STOPPED = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from types import SimpleNamespace
import test_open_requests as t
print("go", flush=True)
served = SimpleNamespace(url=sys.argv[1])
verdicts = t.grade(served, Path(sys.argv[2]), count=4, concurrency=1, timeout=30, patience=1.5)
print(sum(v.parsed is not None for v in verdicts))
"""


@pytest.mark.faults
def test_a_stopped_process_takes_its_own_silence_for_nobodys(path):
    with server(lambda word: (200, None, 0.5)) as served:
        command = [sys.executable, "-c", STOPPED, served.url, str(path), os.path.dirname(__file__)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout.readline() == "go\n"
            while not served.asked:
                time.sleep(0.02)
            time.sleep(0.2)
            process.send_signal(signal.SIGSTOP)
            time.sleep(4.5)
            process.send_signal(signal.SIGCONT)
            assert process.stdout.read() == "4\n"
            assert process.wait(30) == 0

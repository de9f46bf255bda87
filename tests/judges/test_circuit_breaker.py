"""The circuit, on a clock of its own."""

import pytest

from harness.core.refusals import RefusalTracker
from harness.core.secrets import Secret
from harness.errors import JudgeError
from harness.judges.circuit_breaker import LONGEST_EXCUSE, CircuitBreaker
from harness.judges.concurrency import LONGEST_HOLD, AdaptiveConcurrency
from harness.judges.open_requests import OpenRequests
from harness.judges.retry import RetryingCaller


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def caller_of(limiter, circuit, answered=0):
    """Return a caller whose attempts take up to 5 s."""
    return RetryingCaller(
        client=None,
        judge_name="j",
        secret=Secret(""),
        timeout=5,
        attempts=5,
        limiter=limiter,
        breaker=circuit,
        refusals=RefusalTracker(),
        open_requests=OpenRequests(lambda: answered, circuit.clock),
        has_responded=True,
    )


def test_it_opens_after_the_patience_and_says_why(clock):
    circuit = CircuitBreaker("the judge j", 50, clock)
    for _ in range(3):
        circuit.record_failure("500: oops", None)
    circuit.record_failure("no answer in time", None)
    clock.now = 50
    circuit.check()
    clock.now = 51
    message = r"the judge j has not replied for 51 s \(3 x 500: oops; 1 x no answer in time\)"
    with pytest.raises(JudgeError, match=message):
        circuit.check()


def test_an_answer_closes_it(clock):
    circuit = CircuitBreaker("j", 50, clock)
    clock.now = 49
    circuit.record_answer()
    clock.now = 98
    circuit.check()


def test_a_short_pause_explains_no_silence(clock):
    circuit = CircuitBreaker("j", 50, clock)
    for clock.now in range(51):
        circuit.record_failure("429", 1.0)
        circuit.check()
    clock.now = 51
    with pytest.raises(JudgeError):
        circuit.check()


def test_a_pause_of_five_seconds_explains_silence(clock):
    short, long = (CircuitBreaker("j", 50, clock) for _ in range(2))
    short.record_failure("429", 4.9)
    long.record_failure("429", 5.0)
    clock.now = 55  # five seconds of excuse, and 50 of patience
    long.check()
    with pytest.raises(JudgeError):
        short.check()


def test_what_the_server_asks_to_wait_is_no_silence_but_not_for_ever(clock):
    circuit = CircuitBreaker("j", 50, clock)
    circuit.record_failure("429", 60.0)
    clock.now = 105
    circuit.check()
    for clock.now in range(105, 940, 60):
        circuit.record_failure("429", 60.0)
        circuit.check()
    clock.now = 951  # 900 seconds of excuses, and 50 of patience
    with pytest.raises(JudgeError, match="x 429"):
        circuit.check()


@pytest.mark.parametrize("kind", ["requests", "tokens"])
@pytest.mark.parametrize("nothing", ["0", "-3", "0.0"])
def test_a_wait_that_a_header_asks_for_explains_silence(clock, kind, nothing):
    limiter = AdaptiveConcurrency(8, clock)
    circuit = CircuitBreaker("j", 50, clock)
    caller = caller_of(limiter, circuit)
    circuit.record_answer()
    limiter.read_headers(
        {f"x-ratelimit-remaining-{kind}": nothing, f"x-ratelimit-reset-{kind}": "1m"}
    )
    assert not limiter.is_free()
    for clock.now in range(0, 111):  # a minute of waiting, and 50 s of patience
        caller._check_silence()
    clock.now = 112
    with pytest.raises(JudgeError, match="has not replied for 112 s"):
        caller._check_silence()


def test_a_judge_that_only_asks_for_waits_is_given_up(clock):
    limiter = AdaptiveConcurrency(8, clock)
    circuit = CircuitBreaker("j", 50, clock)
    caller = caller_of(limiter, circuit)
    for clock.now in range(0, int(LONGEST_EXCUSE) + 50, 30):
        limiter.hold(LONGEST_HOLD)
        caller._check_silence()
    clock.now = LONGEST_EXCUSE + 51
    limiter.hold(LONGEST_HOLD)
    with pytest.raises(JudgeError):
        caller._check_silence()

"""The pace, on a clock of its own: a judge that is simulated by its rule."""

import asyncio
import heapq
import random

import pytest

from harness.core.http import parse_duration
from harness.judges.concurrency import PROBE_LIMIT, AdaptiveConcurrency


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def simulate(refuses, ceiling=64, seconds=60.0):
    """Keep every seat taken for some time; return (pace, answers a second in the last half).

    An answer takes a second, a refusal a tenth; `refuses` is given how many are being answered.
    """
    clock = Clock()
    pace, flight, answers, served = AdaptiveConcurrency(ceiling, clock), [], [], 0
    while clock.now < seconds:
        while pace._has_free_slot():
            pace.in_flight += 1
            refused = refuses(served)
            served += not refused
            heapq.heappush(flight, (clock.now + (0.1 if refused else 1.0), refused))
        clock.now, refused = heapq.heappop(flight)
        pace.in_flight -= 1
        served -= not refused
        if refused:
            pace.record_rate_limit(0.2)
        else:
            pace.record_answer()
            answers.append(clock.now)
    return pace, sum(t > seconds / 2 for t in answers) / (seconds / 2)


def test_it_knocks_and_then_grows_to_the_ceiling():
    pace = AdaptiveConcurrency(64)
    assert int(pace.limit) == PROBE_LIMIT
    pace, rate = simulate(lambda served: False)
    assert int(pace.limit) == 64
    assert rate == pytest.approx(64, rel=0.05)  # 64 seats of a second each


def test_it_shrinks_to_what_the_judge_bears():
    # no more than 10 at a time are taken
    pace, rate = simulate(lambda served: served >= 10, seconds=120)
    assert 4 <= pace.limit <= 20
    assert rate > 6


@pytest.mark.parametrize("share", [0.01, 0.1, 0.3, 0.45])
@pytest.mark.parametrize("seed", range(4))
def test_refusals_that_do_not_depend_on_the_pace_do_not_slow_it(share, seed):
    rng = random.Random(seed)
    pace, rate = simulate(lambda served: rng.random() < share, seconds=120)
    # 64 seats of a second each
    assert rate > 0.8 * 64 * (1 - share)


@pytest.mark.parametrize("seed", range(3))
def test_a_judge_that_refuses_most_requests_is_asked_one_at_a_time(seed):
    # more than a half is never put down to another cause than the pace
    rng = random.Random(seed)
    pace, _ = simulate(lambda served: rng.random() < 0.8, seconds=120)
    assert pace.limit < 2


def test_a_long_pause_that_the_server_names_holds_for_all():
    clock = Clock()
    pace = AdaptiveConcurrency(8, clock)
    pace.record_answer()
    pace.record_rate_limit(20.0)
    assert not pace._has_free_slot()
    clock.now = 20.1
    assert pace._has_free_slot()


@pytest.mark.parametrize("pause", [None, 0.9])
def test_a_short_pause_or_none_holds_nothing(pause):
    pace = AdaptiveConcurrency(8, Clock())
    pace.record_answer()
    pace.record_rate_limit(pause)
    assert pace._has_free_slot()


def test_an_allowance_that_is_used_up_is_waited_for():
    clock = Clock()
    pace = AdaptiveConcurrency(8, clock)
    pace.read_headers({"x-ratelimit-remaining-requests": "3", "x-ratelimit-reset-requests": "9s"})
    assert pace._has_free_slot()
    pace.read_headers({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "1m30s"})
    clock.now = 89.9
    assert not pace._has_free_slot()
    clock.now = 90.1
    assert pace._has_free_slot()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1s", 1), ("6m0s", 360), ("120ms", 0.12), ("1h2m3.5s", 3723.5), ("7", 7), ("soon", 0)],
)
def test_durations_are_read_as_servers_write_them(text, seconds):
    assert parse_duration(text) == pytest.approx(seconds)


def test_seats_are_given_in_the_order_of_asking_and_given_back():
    async def run():
        pace, order = AdaptiveConcurrency(2), []
        pace.limit = 2

        async def sit(name):
            async with pace.slot():
                order.append(name)
                await asyncio.sleep(0.01)

        await asyncio.gather(*(sit(i) for i in range(7)))
        return pace.in_flight, order

    assert asyncio.run(run()) == (0, list(range(7)))


def test_one_who_is_cancelled_while_waiting_takes_no_seat():
    async def run():
        pace = AdaptiveConcurrency(1)
        async with pace.slot():
            waiting = asyncio.create_task(pace._acquire())
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
        return pace.in_flight

    assert asyncio.run(run()) == 0


def test_one_who_is_cancelled_on_being_handed_a_slot_gives_it_back():
    async def run():
        pace = AdaptiveConcurrency(1)
        async with pace.slot():
            waiting = asyncio.create_task(pace._acquire())
            await asyncio.sleep(0)
        waiting.cancel()  # the slot is already its own, but it has not run yet
        await asyncio.gather(waiting, return_exceptions=True)
        return pace.in_flight

    assert asyncio.run(run()) == 0

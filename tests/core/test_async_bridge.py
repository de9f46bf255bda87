"""Coroutines from synchronous code: with and without a running event loop."""

import asyncio
import contextvars
import os
import signal
import threading
import time

import pytest

from harness.core.async_bridge import run_coroutine

LABEL = contextvars.ContextVar("LABEL", default="none")


async def answer():
    await asyncio.sleep(0)
    return LABEL.get(), threading.current_thread() is threading.main_thread()


async def fail():
    await asyncio.sleep(0)
    raise ValueError("a message")


def in_a_loop(call):
    async def main():
        return call()

    return asyncio.run(main())


def test_without_a_loop_the_coroutine_runs_in_this_thread():
    LABEL.set("here")
    assert run_coroutine(answer()) == ("here", True)


def test_inside_a_loop_it_runs_in_another_thread_with_the_same_context():
    LABEL.set("there")
    assert in_a_loop(lambda: run_coroutine(answer())) == ("there", False)


def test_an_error_is_raised_inside_a_loop_too():
    with pytest.raises(ValueError, match="a message"):
        in_a_loop(lambda: run_coroutine(fail()))


def test_an_interrupt_cancels_the_coroutine_and_waits_for_its_clean_up():
    events = []

    async def sleeper():
        try:
            events.append("started")
            threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.01)
            events.append("cleaned up")

    def interrupted():
        # asyncio.run of the outer loop takes SIGINT for itself; a notebook's loop does not
        signal.signal(signal.SIGINT, signal.default_int_handler)
        with pytest.raises(KeyboardInterrupt):
            run_coroutine(sleeper())

    begin = time.monotonic()
    in_a_loop(interrupted)
    assert events == ["started", "cleaned up"]
    assert time.monotonic() - begin < 30

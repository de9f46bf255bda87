"""Coroutines called from synchronous code, also where an event loop is running (Jupyter)."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")


def run_coroutine(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in an event loop of its own, and return its result.

    If this thread runs a loop already, the coroutine runs in a worker thread, with a copy of this
    thread's context variables, while this thread waits. A KeyboardInterrupt cancels the coroutine,
    waits for it to clean up, and is raised again.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(coroutine)
    return _run_in_thread(coroutine)


def _run_in_thread(coroutine: Coroutine[Any, Any, T]) -> T:
    task: Future[tuple[asyncio.AbstractEventLoop, asyncio.Task[T]]] = Future()

    async def supervised() -> T:
        inner = asyncio.ensure_future(coroutine)
        task.set_result((asyncio.get_running_loop(), inner))
        return await inner

    with ThreadPoolExecutor(1, thread_name_prefix="harness-async") as executor:
        outcome = executor.submit(contextvars.copy_context().run, asyncio.run, supervised())
        try:
            return outcome.result()
        except KeyboardInterrupt:
            loop, inner = task.result()
            with suppress(RuntimeError):  # the loop may have ended by itself
                loop.call_soon_threadsafe(inner.cancel)
            raise

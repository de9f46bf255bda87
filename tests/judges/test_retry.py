"""When a caller gives up on a server that cannot be reached."""

import asyncio

import httpx
import openai
import pytest

from harness.core.refusals import RefusalTracker
from harness.core.secrets import Secret
from harness.errors import JudgeError
from harness.judges.circuit_breaker import CircuitBreaker
from harness.judges.concurrency import AdaptiveConcurrency
from harness.judges.open_requests import OpenRequest, OpenRequests
from harness.judges.retry import RetryingCaller, TransientError

UNREACHABLE = TransientError("connection refused", unreachable=True)


def caller(transport=None, attempts=5):
    client = openai.AsyncOpenAI(
        api_key="none",
        base_url="http://judge/v1",
        max_retries=0,
        http_client=httpx.AsyncClient(transport=transport),
    )
    return RetryingCaller(
        client=client,
        judge_name="the judge j",
        secret=Secret(""),
        timeout=5,
        attempts=attempts,
        limiter=AdaptiveConcurrency(1),
        breaker=CircuitBreaker("the judge j", 50),
        refusals=RefusalTracker(),
        open_requests=OpenRequests(lambda: 0),
    )


def fail(asked, failures):
    """Have the last of some attempts fail because the server cannot be reached."""
    request = OpenRequest(None, failures - 1)
    asked._record(request, UNREACHABLE)
    asyncio.run(asked._check(request, UNREACHABLE))


def test_a_server_that_never_replied_is_tried_three_times():
    silent = caller()
    fail(silent, 2)
    with pytest.raises(JudgeError, match="cannot reach the judge j .*start the server"):
        fail(silent, 3)


@pytest.mark.parametrize("status", [200, 500])
def test_a_server_that_has_replied_is_tried_as_often_as_asked_for(status):
    replied = caller(httpx.MockTransport(lambda _: httpx.Response(status, text="{}")))
    try:
        asyncio.run(replied._post({"model": "j"}))
    except TransientError:
        assert status == 500
    fail(replied, 4)
    with pytest.raises(JudgeError, match="failed 5 times in a row"):
        fail(replied, 5)

"""Connections to OpenAI-compatible servers, for judges and for engines.

No proxy is used for a server on this machine, an answer has a largest size, and no redirect is
followed: it would send a key and prompts elsewhere. Nothing is retried here: what may be repeated
is decided by the caller.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from harness.core import bodies
from harness.core.http import address_fault, is_loopback
from harness.errors import ConfigError

if TYPE_CHECKING:
    from openai import AsyncOpenAI, OpenAI

CONNECT_SECONDS = 5.0
PROXY_VARIABLES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY")


def open_async(
    url: str,
    key: str,
    timeout: float,
    on_headers: Callable[[Mapping[str, str]], None] = lambda _: None,
) -> AsyncOpenAI:
    """Return a connection for coroutines.

    Args:
        url: the server's base URL.
        key: the API key.
        timeout: seconds without a byte after which a request fails.
        on_headers: receives the headers of every response.

    Raises:
        ConfigError: the address, or a proxy that the environment names, is malformed.
    """
    import openai

    async def listen(response: Any) -> None:
        on_headers(response.headers)
        await bodies.read_async(response)

    with _readable_addresses(url):
        return openai.AsyncOpenAI(
            **_settings(url, key, timeout),
            http_client=openai.DefaultAsyncHttpxClient(
                trust_env=not is_loopback(url),
                follow_redirects=False,
                event_hooks={"response": [listen]},
            ),
        )


def open_sync(url: str, key: str, timeout: float, limit: int = bodies.LARGEST_BODY) -> OpenAI:
    """Return a connection.

    Args:
        url: the server's base URL.
        key: the API key.
        timeout: seconds without a byte after which a request fails.
        limit: bytes of the largest answer.

    Raises:
        ConfigError: the address, or a proxy that the environment names, is malformed.
    """
    import openai

    with _readable_addresses(url):
        return openai.OpenAI(
            **_settings(url, key, timeout),
            http_client=openai.DefaultHttpxClient(
                trust_env=not is_loopback(url),
                follow_redirects=False,
                event_hooks={"response": [lambda response: bodies.read(response, limit)]},
            ),
        )


def _settings(url: str, key: str, timeout: float) -> dict[str, Any]:
    import openai

    return {
        "base_url": url,
        "api_key": key,
        "max_retries": 0,
        "timeout": openai.Timeout(timeout, connect=min(timeout, CONNECT_SECONDS)),
        "default_headers": {"Accept-Encoding": bodies.ENCODING},
    }


@contextmanager
def _readable_addresses(url: str) -> Iterator[None]:
    """Turn what goes wrong while a connection is set up into one line.

    A proxy's address is not quoted: it may hold a password.
    """
    if fault := address_fault(url):
        raise ConfigError(f"{url!r} is no address of a server: {fault}")
    try:
        yield
    except Exception as error:  # noqa: BLE001  # httpx.InvalidURL, ValueError, ImportError, OSError
        raise ConfigError(
            f"no connection to {url} can be set up ({type(error).__name__}): look at the proxy "
            f"that {', '.join(PROXY_VARIABLES)} may name (http://HOST:PORT), and at SSL_CERT_FILE"
        ) from None

"""Addresses of servers and proxies: what is malformed is one line, and quotes no password."""

import pytest

from harness.core import connections
from harness.core.http import address_fault, is_loopback, reset_seconds, retry_after
from harness.engines.openai import OpenAIEngine
from harness.errors import ConfigError
from harness.judges.client import OpenAIClient

MALFORMED = (
    *("http://127.0.0.1:abc/v1", "http://127.0.0.1:99999/v1", "http://127.0.0.1:0/v1"),
    *("http://[::1/v1", "http://]/v1", "http://[zz]/v1", "http://", "http:///v1", "http://:80/v1"),
    *("ftp://127.0.0.1/v1", "file:///etc/passwd", "127.0.0.1:8000", "localhost", "//host/v1"),
    *("http://a b/v1", "http://a\nb/v1", "http://host/v1\x1b[31m", "http://ho<st/v1", "ht tp://x"),
)
SOUND = (
    *("http://127.0.0.1:8000/v1", "https://api.openai.com/v1", "http://[::1]:8000/v1"),
    *("https://my_host.internal", "http://xn--bcher-kva.example/v1", "http://bücher.example/v1"),
)


@pytest.mark.parametrize("url", MALFORMED)
def test_a_malformed_address_is_refused_in_one_line(url, monkeypatch):
    assert address_fault(url)
    assert not is_loopback(url)
    with pytest.raises(ValueError, match="no address of a server"):
        OpenAIClient(model="j", base_url=url)
    monkeypatch.setenv("OPENAI_BASE_URL", url)
    with pytest.raises(ConfigError, match="OPENAI_BASE_URL") as refused:
        _ = OpenAIClient(model="j").url
    assert "\n" not in str(refused.value)
    for connect in (connections.open_sync, connections.open_async):
        with pytest.raises(ConfigError, match="no address of a server"):
            connect(url, "key", 1.0)


@pytest.mark.parametrize("url", SOUND)
def test_other_addresses_are_taken(url):
    assert address_fault(url) == ""
    assert OpenAIClient(model="j", base_url=url).url == url
    connections.open_sync(url, "key", 1.0).close()


@pytest.mark.parametrize("proxy", ["htp://user:hunter2@127.0.0.1:1", "http://127.0.0.1:abc", "::"])
def test_a_malformed_proxy_is_named_by_its_variable_and_not_quoted(proxy, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    monkeypatch.setenv("https_proxy", proxy)
    with pytest.raises(ConfigError, match="HTTPS_PROXY") as refused:
        connections.open_sync("https://judge.invalid/v1", "key", 1.0)
    assert "hunter2" not in str(refused.value)
    assert "\n" not in str(refused.value)
    # a server on this machine is reached without one
    connections.open_sync("http://127.0.0.1:1/v1", "key", 1.0).close()


def test_an_engines_address_is_looked_at_as_a_judges_is():
    with pytest.raises(ValueError, match="no address of a server"):
        OpenAIEngine(base_url="http://[::1/v1")


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("nan", 0.0),
        ("-5", 0.0),
        ("soon", None),
        ("Mon, 01 Jan 0001 00:00:00", 0.0),
        ("Mon, 99 Jan 2026 00:00:00 GMT", None),
    ],
)
def test_a_retry_after_that_cannot_be_is_no_error(header, seconds):
    assert retry_after({"retry-after": header}) in (seconds, None)


NOW = 1_795_857_988  # 2026-11-28T09:26:28Z
DATE = {"date": "Sat, 28 Nov 2026 09:26:28 GMT"}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("6m0s", 360),
        ("20 seconds", 20),
        ("60", 60),
        (str(NOW + 5), 5),
        (str(1000 * NOW + 5000), 5),
        ("2026-11-28T09:26:33Z", 5),
        ("Sat, 28 Nov 2026 09:26:33 GMT", 5),
        ("Sat, 21 Nov 2026 09:26:33 GMT", 0),
        ("", 0),
        ("soon", 0),
    ],
)
def test_a_limit_is_reset_after_a_time_or_at_a_moment(text, seconds):
    assert reset_seconds(text, DATE) == pytest.approx(seconds)


@pytest.mark.parametrize("text", [str(NOW + 5), "2026-11-28T09:26:33Z", "5"])
def test_a_retry_after_may_be_a_moment(text):
    assert retry_after({"retry-after": text, **DATE}) == pytest.approx(5)

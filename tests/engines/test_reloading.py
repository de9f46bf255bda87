"""Servers that are told to load another policy: vLLM's calls, SGLang's, and what fails."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from harness.core import config
from harness.engines import reloading
from harness.engines.openai import OpenAIEngine
from harness.errors import ConfigError, EngineError
from harness.types import Policy


class Server(ThreadingHTTPServer):
    """Notes what it is posted, and answers with the next of its replies, by path."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.posts: list[tuple[str, Any, str | None]] = []
        self.replies: dict[str, list[tuple[int, str]]] = {}

    def at(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}{path}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])) or "{}")
        self.server.posts.append((self.path, body, self.headers["authorization"]))
        replies = self.server.replies.get(self.path, [])
        status, text = replies.pop(0) if replies else (200, "")
        self.send_response(status)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = Thread(target=running.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield running
        running.shutdown()


def engine(server: Server, path: str) -> OpenAIEngine:
    return OpenAIEngine(base_url=server.at("/v1"), reload_url=server.at(path))


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reloading, "CACHE_PAUSE", 0.01)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")


def test_vllm_reloads_in_place_and_forgets_the_prefixes_of_the_old_weights(
    server: Server, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "policy").mkdir()
    monkeypatch.chdir(tmp_path)
    server.replies["/reset_prefix_cache"] = [(200, '{"success": false}')] * 2
    engine(server, "/collective_rpc").load_policy(Policy("p", "policy"))
    path = str(tmp_path / "policy")
    body = {"method": "reload_weights", "kwargs": {"weights_path": path}}
    assert server.posts[0] == ("/collective_rpc", body, "Bearer sk-test")
    assert [post[0] for post in server.posts[1:]] == ["/reset_prefix_cache"] * 3


def test_sglang_and_other_servers_are_sent_the_path(server: Server) -> None:
    engine(server, "/update_weights_from_disk").load_policy(Policy("p", "org/model"))
    engine(server, "/mine").load_policy(Policy("p", "org/model"))
    assert [post[:2] for post in server.posts] == [
        ("/update_weights_from_disk", {"model_path": "org/model"}),
        ("/mine", {"path": "org/model"}),
    ]


def test_a_key_is_sent_to_its_own_server_alone_and_nothing_where_there_is_no_address(
    server: Server,
) -> None:
    other = OpenAIEngine(base_url="http://127.0.0.1:9/v1", reload_url=server.at("/mine"))
    other.load_policy(Policy("p", "org/model"))
    assert server.posts[0][2] == "Bearer none"
    OpenAIEngine(base_url=server.at("/v1")).load_policy(Policy("p", "org/model"))
    assert len(server.posts) == 1


Change = Callable[[Server], None]


@pytest.mark.parametrize(
    ("path", "replies", "words"),
    [
        ("/collective_rpc", {"/collective_rpc": [(404, "")]}, "404.*VLLM_SERVER_DEV_MODE=1"),
        (
            "/update_weights_from_disk",
            {"/update_weights_from_disk": [(200, '{"success": false, "message": "no such file"}')]},
            "no such file",
        ),
        (
            "/collective_rpc",
            {"/reset_prefix_cache": [(200, '{"success": false}')] * 99},
            "prefix cache is in use",
        ),
    ],
)
def test_a_server_that_does_not_load_the_policy_is_an_error_in_one_line(
    server: Server, path: str, replies: dict[str, list[tuple[int, str]]], words: str
) -> None:
    server.replies |= replies
    with pytest.raises(EngineError, match=rf"did not load org/model: .*{words}") as caught:
        engine(server, path).load_policy(Policy("p", "org/model"))
    assert "\n" not in str(caught.value)


def test_an_address_is_checked_when_it_is_configured() -> None:
    urls = {"base_url": "http://127.0.0.1:1/v1", "reload_url": "127.0.0.1:1/mine"}
    with pytest.raises(ConfigError, match="no address of a server"):
        config.construct(OpenAIEngine, urls)

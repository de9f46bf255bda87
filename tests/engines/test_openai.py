from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Barrier, Thread
from typing import Any

import pytest

from harness.core.config import build
from harness.core.http import Backoff
from harness.core.hub import load_tokenizer
from harness.core.seeds import derive
from harness.engines import openai
from harness.engines.canned import CannedEngine
from harness.engines.openai import OpenAIEngine
from harness.errors import ConfigError, EngineError
from harness.protocols import Sampling
from harness.types import Completion, Policy, Prompt, Request

Ask = Callable[..., Request]
ANSWER = CannedEngine(text="yes", variants=("", "!"))


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai, "BACKOFF", Backoff(first=0.01, longest=0.1))


def generate(url: str, requests: list[Request], **fields: Any) -> list[Completion]:
    engine = OpenAIEngine(base_url=url, **fields)
    return engine.generate(Policy("named", ""), requests, Sampling(max_tokens=9), lambda _: None)


def test_every_sample_is_a_request_with_its_own_seed(servers: Callable[..., Any], ask: Ask) -> None:
    server = servers(ANSWER)
    completions = generate(server.url, [ask("w1", 3, seed=7)], body={"top_k": 5})
    assert [c.token_ids for c in completions] == [()] * 3
    assert {body["seed"] for body in server.bodies} == {derive(7, i) for i in range(3)}
    assert all(body["model"] == "named" and body["top_k"] == 5 for body in server.bodies)
    assert all("n" not in body for body in server.bodies)


def test_the_server_renders_and_ends_turns_as_the_policy_does(
    servers: Callable[..., Any], ask: Ask, tiny_policy: str
) -> None:
    word = next(w for w in load_tokenizer(Policy("p", tiny_policy)).get_vocab() if w.isalpha())
    policy = Policy("p", tiny_policy, end_tokens=(word,))
    token = load_tokenizer(policy).convert_tokens_to_ids(word)
    quiet = Policy("p", tiny_policy, template_arguments={"enable_thinking": False})
    server = servers(ANSWER)
    for prompted in (policy, quiet):
        OpenAIEngine(base_url=server.url).generate(
            prompted, [ask("w1")], Sampling(max_tokens=9), lambda _: None
        )
    assert server.bodies[0]["stop_token_ids"] == [token]
    assert server.bodies[1]["chat_template_kwargs"] == {"enable_thinking": False}
    assert "stop_token_ids" not in server.bodies[1]


def test_it_works_inside_a_running_event_loop(servers: Callable[..., Any], ask: Ask) -> None:
    async def main(url: str) -> list[Completion]:
        return generate(url, [ask("w1", 2)])

    assert len(asyncio.run(main(servers(ANSWER).url))) == 2


def test_a_failure_that_passes_is_tried_again(servers: Callable[..., Any], ask: Ask) -> None:
    server = servers(ANSWER, [429, 503, 500])
    (completions,) = generate(server.url, [ask("w1")])
    assert completions.text in ("yes", "yes!")
    assert len(server.bodies) == 4


@pytest.mark.parametrize(
    ("status", "mend"), [(401, "OPENAI_API_KEY holds its key"), (404, "--set engine.model=NAME")]
)
def test_a_failure_that_stays_is_reported_at_once(
    servers: Callable[..., Any], ask: Ask, status: int, mend: str
) -> None:
    server = servers(ANSWER, [status])
    with pytest.raises(EngineError, match=f"{server.url} failed: .*{mend}") as caught:
        generate(server.url, [ask("w1")])
    assert "\n" not in str(caught.value)
    assert len(server.bodies) == 1


class Repeating(BaseHTTPRequestHandler):
    """Refuses, and says the key back."""

    def log_message(self, *_: object) -> None:
        pass

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        data = json.dumps({"error": {"message": f"no key {self.headers['authorization']}"}})
        self.send_response(401)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data.encode())


def test_a_key_that_the_server_echoes_is_not_shown(
    ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-proj-4rNq8VtZ2mXw7Lc5")
    with HTTPServer(("127.0.0.1", 0), Repeating) as server:
        thread = Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        with pytest.raises(EngineError, match=r"no key Bearer \*\*\*") as caught:
            generate(f"http://127.0.0.1:{server.server_port}/v1", [ask("w1")])
        server.shutdown()
        thread.join()
    assert "4rNq8VtZ" not in str(caught.value)


def test_attempts_are_counted(servers: Callable[..., Any], ask: Ask) -> None:
    server = servers(ANSWER, [500] * 9)
    with pytest.raises(EngineError, match="failed after 2 attempts"):
        generate(server.url, [ask("w1")], attempts=2)
    assert len(server.bodies) == 2


def test_a_missing_server_is_reported_with_its_address(ask: Ask) -> None:
    with pytest.raises(EngineError, match=r"http://127\.0\.0\.1:9/v1 failed.*server runs"):
        generate("http://127.0.0.1:9/v1", [ask("w1")], attempts=1)


def test_the_key_is_read_when_it_is_used(
    servers: Callable[..., Any], ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = servers(ANSWER)
    monkeypatch.setenv("SOME_KEY", "secret")
    generate(server.url, [ask("w1")], api_key_env="SOME_KEY")
    monkeypatch.delenv("SOME_KEY")
    generate(server.url, [ask("w1")], api_key_env="SOME_KEY")
    assert server.keys == ["Bearer secret", "Bearer none"]
    with pytest.raises(EngineError, match=r"no key for https://example\.org/v1: .*export SOME_KEY"):
        generate("https://example.org/v1", [ask("w1")], api_key_env="SOME_KEY")


def test_requests_are_under_way_together(servers: Callable[..., Any], ask: Ask) -> None:
    together = Barrier(10)

    class Waiting(CannedEngine):
        def generate(self, *args: Any) -> list[Completion]:
            together.wait(timeout=30)  # for ten at once, or it breaks
            return super().generate(*args)

    requests = [ask("w1", 2, seed) for seed in range(10)]
    assert len(generate(servers(Waiting()).url, requests, concurrency=10)) == 20


def test_null_takes_a_parameter_away(ask: Ask) -> None:
    body = {"max_tokens": None, "seed": None, "temperature": None, "max_completion_tokens": 9}
    engine = OpenAIEngine(base_url="http://127.0.0.1", body=body)
    sent = engine._body(Policy("named", ""), ask("w1"), 0, Sampling(max_tokens=9))
    assert not {"max_tokens", "seed", "temperature"} & sent.keys()
    assert sent["max_completion_tokens"] == 9
    assert sent["top_p"] == 1
    with pytest.raises(ConfigError, match="leave out messages"):
        build({"use": "harness.engines.openai:OpenAIEngine", "base_url": "http://127.0.0.1",
               "body": {"messages": None}})  # fmt: skip


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ([{"type": "text", "text": "He"}, {"type": "text", "text": "llo"}], "Hello"),
        ([{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "Hello"}], "Hello"),
        (None, ""),
        ("Hello", "Hello"),
    ],
)
def test_the_parts_of_an_answer_are_read_as_text(content: Any, text: str) -> None:
    reply = {"choices": [{"message": {"content": content}, "finish_reason": "stop"}]}
    request = Request(Prompt("p", ()), 1, 0)
    assert OpenAIEngine(base_url="http://127.0.0.1")._completion(request, 0, reply).text == text


def error(message: str, **fields: Any) -> dict[str, Any]:
    return {"error": {"message": message, **fields}}


ONE_PROMPT = [
    (400, error("The response was filtered", code="content_filter"), 1),
    (403, error("your input was flagged", code=403), 1),
    (451, error("unavailable for legal reasons"), 1),
    (422, error("no word of why"), 1),
    (500, error("Out of range float values"), 3),
    (200, {"choices": []}, 3),
    (200, error("upstream", code=502), 3),
    (200, error("your input was flagged", code=403), 1),
]


@pytest.mark.parametrize(("status", "body", "asked"), ONE_PROMPT)
def test_a_prompt_that_is_refused_or_always_fails_is_missing(
    servers: Callable[..., Any], ask: Ask, status: int, body: Any, asked: int
) -> None:
    server = servers(ANSWER)
    server.faults["w1"] = (status, body)
    requests = [ask("w1", 2), *(ask(f"w{i}") for i in range(2, 12))]
    progress: list[int] = []
    completions = OpenAIEngine(base_url=server.url, attempts=3).generate(
        Policy("named", ""), requests, Sampling(max_tokens=9), progress.append
    )
    missing, others = completions[:2], completions[2:]
    assert [(c.prompt_id, c.index, c.finish_reason) for c in missing] == [
        ("w1 #0", 0, "missing"),
        ("w1 #0", 1, "missing"),
    ]
    message = body.get("error", {}).get("message", "without a choice")
    start = "no answer in 3 attempts: " if asked == 3 else "refused: "
    assert all(c.text.startswith(start) and message in c.text for c in missing)
    assert all(c.text in ("yes", "yes!") for c in others)
    assert len(server.bodies) == 10 + 2 * asked
    assert sum(progress) == 11


EVENTS = """: keep-alive

data: {"choices": [{"index": 0, "delta": {"content": "He"}}]}

data: {"choices": [{"index": 0, "delta": {"content": "llo"}, "finish_reason": "stop"}]}

data: [DONE]
"""


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"choices": [{"text": "Hello", "finish_reason": "eos"}]}, "stop"),
        ({"choices": [{"message": "Hello", "finish_reason": None}]}, "stop"),
        ([{"choices": [{"message": {"content": "Hello"}, "finish_reason": "stop"}]}], "stop"),
        ({"choices": [{"message": {"content": "Hello"}, "finish_reason": "MAX_TOKENS"}]}, "length"),
        (EVENTS, "stop"),
    ],
)
def test_an_answer_of_another_shape_is_read(
    servers: Callable[..., Any], ask: Ask, body: Any, reason: str
) -> None:
    server = servers(ANSWER)
    server.faults["w1"] = (200, body)
    (completion,) = generate(server.url, [ask("w1")])
    assert (completion.text, completion.finish_reason) == ("Hello", reason)


def test_an_error_in_place_of_a_message_is_no_answer(servers: Callable[..., Any], ask: Ask) -> None:
    server = servers(ANSWER)
    server.faults["w1"] = (200, {"choices": [{"message": {}, "error": {"message": "went away"}}]})
    completions = generate(server.url, [ask("w1"), ask("w2")], attempts=2)
    assert [c.finish_reason for c in completions] == ["missing", "stop"]
    assert "went away" in completions[0].text


@pytest.mark.parametrize(("status", "body"), [(500, error("no")), (400, error("bad parameter"))])
def test_many_that_fail_are_the_servers_fault(
    servers: Callable[..., Any], ask: Ask, status: int, body: Any
) -> None:
    server = servers(ANSWER)
    server.faults |= {f"w{i}": (status, body) for i in range(5)}
    with pytest.raises(EngineError, match=f"{server.url} failed.*{body['error']['message']}"):
        generate(server.url, [ask(f"w{i}") for i in range(20)], attempts=2)


def test_a_server_out_of_credit_is_not_asked_on(servers: Callable[..., Any], ask: Ask) -> None:
    server = servers(ANSWER)
    server.faults["w1"] = (200, error("insufficient credits", code=402))
    with pytest.raises(EngineError, match="402: insufficient credits; add credit"):
        generate(server.url, [ask("w0"), ask("w1")], concurrency=1)
    assert len(server.bodies) == 2


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(servers: Callable[..., Any], ask: Ask, status: int) -> None:
    server = servers(ANSWER)
    server.faults["w1"] = (status, {})
    with pytest.raises(
        EngineError, match=rf"{status}: it redirects to http://127\.0\.0\.1:9/v1"
    ) as e:
        generate(server.url, [ask("w1")])
    assert "secret" not in str(e.value)
    assert len(server.bodies) == 1


def test_the_delay_in_a_body_is_waited_for(
    servers: Callable[..., Any], ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float | None] = []

    class Recorded(Backoff):
        def pause(self, attempt: int, requested: float | None = None, jitter: Any = None) -> float:
            pauses.append(requested)
            return 0.0

    monkeypatch.setattr(openai, "BACKOFF", Recorded(0.01, 0.1))
    monkeypatch.setattr(openai, "retry_after", lambda _: None)
    server = servers(ANSWER)
    server.faults["w1"] = (429, error("Please retry in 37.5s."))
    with pytest.raises(EngineError, match="after 2 attempts"):
        generate(server.url, [ask("w1")], attempts=2)
    assert pauses == [37.5]

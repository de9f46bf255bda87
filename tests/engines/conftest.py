"""What the engines' tests share: a model of 20 thousand parameters, a server on this machine."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from harness.engines.canned import CannedEngine
from harness.protocols import Sampling
from harness.types import Message, Policy, Prompt, Request

Ask = Callable[..., Request]

SPECIAL = ("<pad>", "<end>", "<user>", "<assistant>")
WORDS = tuple(f"w{i}" for i in range(26))
TEMPLATE = (
    "{% for m in messages %}<{{ m.role }}> {{ m.content }} {% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


def make_tokenizer(template: str | None) -> PreTrainedTokenizerFast:
    words = Tokenizer(
        models.WordLevel({w: i for i, w in enumerate(SPECIAL + WORDS)}, unk_token="<pad>")
    )
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=words,
        eos_token="<end>",
        pad_token="<pad>",
        additional_special_tokens=list(SPECIAL[2:]),
        chat_template=template,
    )


def make_model(seed: int, positions: int = 64) -> LlamaForCausalLM:
    """A head of 32 is the smallest that vLLM's kernels for a processor know."""
    config = LlamaConfig(
        vocab_size=len(SPECIAL + WORDS),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=1,
        num_key_value_heads=1,
        max_position_embeddings=positions,
        initializer_range=0.3,  # wide enough for distributions that differ from uniform
        eos_token_id=1,
        pad_token_id=0,
        bos_token_id=None,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return LlamaForCausalLM(config)


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    make_tokenizer(TEMPLATE).save_pretrained(folder)
    make_model(seed=0).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def policy(model_folder: Path) -> Policy:
    return Policy("tiny", str(model_folder))


@pytest.fixture(scope="session")
def ask() -> Ask:
    return make_request


def make_request(text: str, n: int = 1, seed: int = 0) -> Request:
    return Request(Prompt(f"{text} #{seed}", (Message("user", text),)), n, seed)


class Server(ThreadingHTTPServer):
    """An OpenAI-compatible server that a canned engine answers for."""

    def __init__(self, engine: CannedEngine, failures: Iterable[int] = ()) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.engine = engine
        self.failures = list(failures)
        """The status codes that come before the first answer."""
        self.faults: dict[str, tuple[int, Any]] = {}
        """Status and body of what prompts are answered with, by their text."""
        self.bodies: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.lock = Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.bodies.append(body)
            self.server.keys.append(self.headers["Authorization"])
            status = self.server.failures.pop(0) if self.server.failures else 200
        payload = (
            answer(self.server.engine, body) if status == 200 else {"error": {"message": "no"}}
        )
        status, payload = self.server.faults.get(body["messages"][-1]["content"], (status, payload))
        data = (payload if isinstance(payload, str) else json.dumps(payload)).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Location", "http://127.0.0.1:9/v1/chat/completions?key=secret")
        self.send_header("Retry-After", "0")
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def answer(engine: CannedEngine, body: dict[str, Any]) -> dict[str, Any]:
    messages = tuple(Message(m["role"], m["content"]) for m in body["messages"])
    request = Request(Prompt("", messages), 1, body["seed"])
    sampling = Sampling(**{key: body[key] for key in ("temperature", "top_p", "max_tokens")})
    (completion,) = engine.generate(Policy("", ""), [request], sampling, lambda _: None)
    choice: dict[str, Any] = {
        "index": 0,
        "message": {"role": "assistant", "content": completion.text},
        "finish_reason": completion.finish_reason,
    }
    payload: dict[str, Any] = {
        "id": "1",
        "object": "chat.completion",
        "created": 0,
        "model": body["model"],
        "choices": [choice],
    }
    if body.get("return_token_ids"):
        choice["token_ids"] = completion.token_ids
        payload["prompt_token_ids"] = completion.prompt_token_ids
    return payload


@pytest.fixture(scope="session")
def servers() -> Iterator[Callable[..., Server]]:
    """Start servers that last as long as the tests."""
    with ExitStack() as stack:

        def start(engine: CannedEngine, failures: Iterable[int] = ()) -> Server:
            server = stack.enter_context(Server(engine, failures))
            thread = Thread(target=server.serve_forever, args=(0.02,), daemon=True)
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.shutdown)
            return server

        yield start


@pytest.fixture(scope="session")
def serve(servers: Callable[..., Server]) -> Callable[..., str]:
    """Start a server; return its address."""
    return lambda engine: servers(engine).url

"""A small OpenAI-compatible judge server over a grading function, for demos and tests."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from harness.judges import chat_format
from harness.types import Message, Reply

Grade = Callable[[Sequence[Message], Mapping[str, Any]], Reply]
"""Takes the messages and the whole request; raises ValueError for what it cannot grade."""


@contextmanager
def serving(grade: Grade, model: str) -> Iterator[str]:
    """Serve a judge on a free port of 127.0.0.1 while the context is open; yield its base URL.

    It answers `POST /v1/chat/completions` and `GET /v1/models`. Each request is graded in its own
    thread. A ValueError of `grade` becomes status 400, any model but `model` status 404.
    """
    server = _Server(("127.0.0.1", 0), _Handler)
    server.grade, server.model = grade, model
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1024
    grade: Grade
    model: str

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that have disconnected."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: _Server

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""

    def do_GET(self) -> None:
        """List the model."""
        if self.path == "/v1/models":
            model = {"id": self.server.model, "object": "model"}
            self._answer(200, {"object": "list", "data": [model]})
        else:
            self._refuse(404, "not_found", f"there is nothing at {self.path}")

    def do_POST(self) -> None:
        """Grade."""
        text = self.rfile.read(int(self.headers.get("content-length") or 0))
        if self.path != "/v1/chat/completions":
            self._refuse(404, "not_found", f"there is nothing at {self.path}")
            return
        try:
            body = json.loads(text)
            if not isinstance(body, dict):
                raise ValueError("the body must be a JSON object")
            self._grade(body)
        except ValueError as error:
            self._refuse(400, "invalid_request", str(error))

    def _grade(self, body: Mapping[str, Any]) -> None:
        if body.get("model") != self.server.model:
            message = f"the model {body.get('model')!r} does not exist"
            self._refuse(404, "model_not_found", message)
            return
        reply = self.server.grade(chat_format.messages_of(body), body)
        self._answer(200, chat_format.completion_of(reply, body))

    def _refuse(self, status: int, code: str, message: str) -> None:
        error = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
        self._answer(status, {"error": error})

    def _answer(self, status: int, data: Mapping[str, Any]) -> None:
        text = json.dumps(data).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)
        self.wfile.flush()

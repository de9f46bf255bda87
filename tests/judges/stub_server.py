"""Judges' servers for tests, ended with the test, and their usual handler."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from harness.types import ParsedVerdict


class StubServer(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        """A client that has gone is what some of the tests are about."""


class StubHandler(BaseHTTPRequestHandler):
    """Answers with the last word, or as `rule(word)` says: (status, body, seconds, headers)."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        word = int(body["messages"][-1]["content"].split()[-1])
        with self.server.lock:
            self.server.asked.append(word)
        choice = {"index": 0, "message": {"content": str(word)}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 100, "completion_tokens": 1}
        good = {"model": "j", "choices": [choice], "usage": usage}
        status, data, seconds, *headers = self.server.rule(word) or (200, good, 0)
        self.server.ended.wait(seconds)
        text = json.dumps(good if data is None else data).encode()
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


@contextmanager
def running(handler, **state):
    """Serve; `state` are attributes of the server, which has `lock`, `ended` and `url` too."""
    served = StubServer(("127.0.0.1", 0), handler)
    vars(served).update(lock=threading.Lock(), ended=threading.Event(), **state)
    served.url = f"http://127.0.0.1:{served.server_port}/v1"
    thread = threading.Thread(target=served.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield served
    finally:
        served.ended.set()
        served.shutdown()
        served.server_close()
        thread.join()


def server(rule):
    """Serve a judge that answers as a rule says; `asked` lists the words."""
    return running(StubHandler, rule=rule, asked=[])


class NumberReader:
    """Reads a number."""

    def parse(self, replies):
        text = replies[-1].content
        return ParsedVerdict(float(text)) if text.isdigit() else None

    def follow_up(self, request, replies):
        return request


READER = NumberReader()

"""Serves the report over HTTP, to this host only."""

from __future__ import annotations

from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from harness.errors import ConfigError

HOST = "127.0.0.1"
HOST_NAMES = (HOST, "localhost")
PAGE_PATHS = ("/", "/index.html")


def create_server(page: str, port: int) -> ThreadingHTTPServer:
    """Return a listening server of one page; port 0: any free port.

    Raises:
        ConfigError: the port is in use or not allowed.
    """
    try:
        return ThreadingHTTPServer((HOST, port), partial(PageHandler, page.encode()))
    except OSError as error:
        raise ConfigError(
            f"cannot serve on {HOST}:{port} ({error.strerror}): name another port with --port, "
            "or 0 for any that is free"
        ) from error


class PageHandler(BaseHTTPRequestHandler):
    """Serves the page to requests that name this host."""

    def __init__(self, page: bytes, *rest: Any) -> None:
        self.page = page
        super().__init__(*rest)

    def do_GET(self) -> None:
        """Send the page; refuse another host name (DNS rebinding) and any other path."""
        if self._host() not in HOST_NAMES:
            self.send_error(403)
        elif self.path.partition("?")[0] not in PAGE_PATHS:
            self.send_error(404)
        else:
            self._send()

    def _send(self) -> None:
        self.send_response(200)
        for name, value in (
            ("Content-Type", "text/html; charset=utf-8"),
            ("Content-Length", str(len(self.page))),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
            ("X-Frame-Options", "DENY"),
        ):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(self.page)

    def _host(self) -> str:
        return self.headers.get("Host", "").rpartition(":")[0] or self.headers.get("Host", "")

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing."""

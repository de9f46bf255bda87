"""A server that behaves like OpenAI's Batch API: files, batches, and all that goes wrong."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
from collections import Counter
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

RULES = {
    "model": "j",  # what is served
    "polls": 1,  # looks at a batch until it has ended
    "state": "completed",  # how the first batch ends; later ones are completed
    "missing": 0,  # lines of the first batch that are in neither file
    "doubled": 0,  # lines of the first batch that are there twice
    "errors": 0,  # lines of the first batch that are in the errors file, with `error_status`
    "error_status": 500,
    "error_code": "some_error",
    "never": (),  # words whose lines come back without a reply from every batch
    "says": None,  # what every reply says instead of the last word
    "called": "batch_",  # how the names of batches begin
    "most": None,  # lines of the largest batch for which the account has tokens
    "busy": 0,  # batches that fail first because others take up the account's tokens
    "limit_status": None,  # a larger batch is refused with it at once; None: it fails later
    "says_limit": "Enqueued token limit reached for j in organization org-X. Limit: 90,000 enqueued"
    " tokens. Please try again once some in_progress batches have been completed.",
    "lose": [],  # events whose first answer is lost, although what was asked is done
    "refuse": {},  # event: status of its first answer, nothing being done
    "kill": None,  # {"event": ..., "when": before | after}: kills `victim` once, there
}


class API:
    """Files and batches, and how often each event came."""

    def __init__(self, **rules):
        self.rules = RULES | rules
        self.files, self.batches, self.events = {}, {}, Counter()
        self.lock, self.victim = threading.RLock(), None

    def reply(self, body):
        """Answer one request of a batch: with the last word of the last message."""
        word = self.rules["says"] or body["messages"][-1]["content"].split()[-1]
        choice = {"index": 0, "message": {"role": "assistant", "content": word}}
        return {
            "model": self.rules["model"],
            "choices": [choice | {"finish_reason": "stop"}],
            "usage": {"prompt_tokens": 100, "completion_tokens": 1, "total_tokens": 101},
        }

    def create(self, body):
        number = len(self.batches)
        lines = [json.loads(line) for line in self.files[body["input_file_id"]][1].splitlines()]
        batch = {
            "id": f"{self.rules['called']}{number}",
            "object": "batch",
            "created_at": 1,
            "endpoint": body["endpoint"],
            "completion_window": body["completion_window"],
            "input_file_id": body["input_file_id"],
            "metadata": body.get("metadata"),
            "status": "in_progress",
            "request_counts": {"total": len(lines), "completed": 0, "failed": 0},
        }
        self.batches[batch["id"]] = {**batch, "_polls": 0, "_lines": lines, "_number": number}
        return batch

    def poll(self, name):
        batch = self.batches[name]
        batch["_polls"] += 1
        if batch["_polls"] >= self.rules["polls"] and batch["status"] == "in_progress":
            self.finish(batch)
        return {k: v for k, v in batch.items() if not k.startswith("_")}

    def finish(self, batch):
        first, rules, lines = batch["_number"] == 0, self.rules, batch["_lines"]
        missing, errors, doubled = (
            (rules[k] if first else 0) for k in ("missing", "errors", "doubled")
        )
        answered = [
            line
            for line in lines[missing + errors :]
            if line["body"]["messages"][-1]["content"].split()[-1] not in rules["never"]
        ]
        rows = [self.row(line, 200, self.reply(line["body"])) for line in answered]
        rows = rows[::-1] + rows[:doubled]
        error = {"error": {"message": "no", "code": rules["error_code"]}}
        bad = [
            self.row(line, rules["error_status"], error)
            for line in lines[missing : missing + errors]
        ]
        batch["status"] = rules["state"] if first else "completed"
        if self.is_over_limit(batch["_number"], len(lines)):
            error = {"code": "token_limit_exceeded", "message": rules["says_limit"]}
            batch |= {"status": "failed", "errors": {"object": "list", "data": [error]}}
            return
        if batch["status"] == "failed":
            batch["errors"] = {"object": "list", "data": [{"code": "x", "message": "bad file"}]}
            return
        batch["output_file_id"] = self.keep("out", rows) if rows else None
        batch["error_file_id"] = self.keep("err", bad) if bad else None

    def is_over_limit(self, number, count):
        return number < self.rules["busy"] or count > (self.rules["most"] or count)

    def row(self, line, status, body):
        response = {"status_code": status, "request_id": "r", "body": body}
        return {"id": "x", "custom_id": line["custom_id"], "response": response, "error": None}

    def keep(self, kind, rows):
        name = f"file-{kind}-{len(self.files)}"
        self.files[name] = (name, "".join(json.dumps(row) + "\n" for row in rows))
        return name

    def upload(self, data):
        name = re.search(rb'filename="([^"]+)"', data)[1].decode()
        part = data[data.index(b'filename="') :]
        content = part[part.index(b"\r\n\r\n") + 4 :]
        content = content[: content.rindex(b"\r\n--")]
        at = f"file-in-{len(self.files)}"
        self.files[at] = (name, content.decode())
        return {
            "id": at,
            "object": "file",
            "filename": name,
            "purpose": "batch",
            "bytes": 1,
            "created_at": 1,
            "status": "processed",
        }

    def listed(self):
        return [
            {
                "id": at,
                "object": "file",
                "filename": name,
                "purpose": "batch",
                "bytes": 1,
                "created_at": 1,
                "status": "processed",
            }
            for at, (name, _) in self.files.items()
            if at.startswith("file-in")
        ]

    def murder(self, event, when):
        """Kill the client at an event, once."""
        wanted = self.rules["kill"]
        if self.victim and wanted and (wanted["event"], wanted["when"]) == (event, when):
            self.rules["kill"] = None
            with suppress(ProcessLookupError):
                os.kill(self.victim, signal.SIGKILL)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.act(urlsplit(self.path).path.removeprefix("/v1/"), None)

    def do_POST(self):
        data = self.rfile.read(int(self.headers["content-length"]))
        self.act(urlsplit(self.path).path.removeprefix("/v1/"), data)

    def act(self, path, data):
        api = self.server.api
        kind, _, rest = path.partition("/")
        verb = "list" if data is None and not rest else "get" if data is None else "make"
        event = f"{verb} {kind}"
        with api.lock:
            api.events[event] += 1
            first = api.events[event] == 1
            api.murder(event, "before")
            if first and event in api.rules["refuse"]:
                self.send(api.rules["refuse"][event], {"error": {"message": "no", "code": "no"}})
                return
            if event == "make batches" and (status := api.rules["limit_status"]):
                count = api.files[json.loads(data)["input_file_id"]][1].count("\n")
                if api.is_over_limit(len(api.batches), count):
                    error = {"message": api.rules["says_limit"], "code": "token_limit_exceeded"}
                    self.send(status, {"error": error})
                    return
            content = self.content(event, rest, data)
            api.murder(event, "after")
        if first and event in api.rules["lose"]:
            self.close_connection = True
            self.connection.close()
            return
        self.send(200, content)

    def content(self, event, rest, data):
        api = self.server.api
        match event:
            case "make files":
                return api.upload(data)
            case "list files":
                return {"object": "list", "data": api.listed(), "has_more": False}
            case "get files":
                return api.files[rest.split("/")[0]][1]
            case "make batches":
                return api.create(json.loads(data))
            case "list batches":
                rows = [
                    {k: v for k, v in batch.items() if not k.startswith("_")}
                    for batch in api.batches.values()
                ]
                return {"object": "list", "data": rows, "has_more": False}
            case _:
                return api.poll(rest)

    def send(self, status, body):
        text = body if isinstance(body, str) else json.dumps(body)
        with suppress(ConnectionError):
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())


@contextmanager
def serving(**rules):
    """Serve a Batch API on a free port; yield its state, with its `url`."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.api = API(**rules)
    server.api.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server.api
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

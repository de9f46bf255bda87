"""The client of a judge with open weights, which it serves itself with vLLM's OpenAI server.

At an address (`base_url`) it asks a server that is there already. Its own is a separate process. It
is started when requests are pending, and ends with this process however that ends, killed or not
(`harness.core.guard`); its log is written to a file. It serves the model under the judge's name.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

from pydantic import Field, field_validator

from harness import types
from harness.core import guard
from harness.core.config import Component, HomePath
from harness.core.hardware import has_nvidia_device
from harness.core.hub import check_policy_path
from harness.core.io import log_tail, report_disk_errors
from harness.core.secrets import refuse_keys
from harness.errors import JudgeError, MissingDependencyError
from harness.judges import readiness
from harness.judges.client import OpenAIClient
from harness.protocols import RequestQueue
from harness.types import JudgeRequest

LOGGER = logging.getLogger("harness")
POLL_SECONDS, STOP_SECONDS = 0.5, 20.0
LOG_LINES, ATTEMPTS = 3, 6
LOG_FILE = "vllm-judge.log"
KEY_SUFFIX = "_API_KEY"
"""The suffix of variables with an API key; hub tokens, which downloads need, differ."""
NO_KEY = "HARNESS_LOCAL_API_KEY"
"""A variable that is never set: a server on this machine needs no key and gets none."""
ENDED_MESSAGE = "the judge's server ended"
CPU_ENVIRONMENT = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
CPU_ARGUMENTS = ("--enforce-eager", "--dtype", "float32")


class VLLMClient(Component):
    """Weights on this machine, asked over the Chat Completions API."""

    model: str
    """The name of the judge in tables and requests."""
    path: HomePath
    """A directory in the Hugging Face layout, or a hub id."""
    revision: str | None = None
    """The hub commit; None for a directory."""
    served_as: tuple[str, ...] = Field((), exclude=True)
    """Other names of the model, in stored verdicts or at `base_url`, that count."""
    size: str = Field("", exclude=True)
    """How many parameters it has, for people."""
    gpus: str = Field("", exclude=True)
    """What it needs to be served on, for people."""
    base_url: str | None = Field(None, exclude=True, repr=False)
    """A server that serves it already, which is then neither started nor ended; None: its own."""
    deployment: str | None = Field(None, exclude=True)
    """That server's name of the model; None: `model`."""
    api_key_env: str = Field("VLLM_API_KEY", exclude=True, repr=False)
    """The environment variable with that server's key, if it has one."""
    max_model_len: int | None = Field(None, gt=0)
    """Prompt and reply together, in tokens; None: the model's context length."""
    arguments: tuple[str, ...] = Field((), exclude=True, repr=False)
    """Further arguments of the server, e.g. --tensor-parallel-size 2."""
    python: str | None = Field(None, exclude=True)
    """The Python interpreter with vLLM; None: this one."""
    log: Path | None = Field(None, exclude=True)
    """The server's log, overwritten at each start; None: `vllm-judge.log` in the workspace."""
    start_seconds: float = Field(1800.0, gt=0, exclude=True)
    """Seconds to wait for the server to load the weights."""
    concurrency: int = Field(64, gt=0, exclude=True)
    timeout: float = Field(1800.0, gt=0, exclude=True)
    patience: float = Field(600.0, gt=0, exclude=True)
    """Seconds without any reply after which the run stops."""
    unparsed_attempts: int = Field(5, gt=0)
    retry_missing: bool = Field(False, exclude=True)
    """Ask again what was refused in an earlier run, or failed at every time, e.g. with a larger
    max_model_len; also `--retry-unread`."""
    parameters: Mapping[str, Any] = Field(default_factory=dict)
    """Override the protocol's parameters; null removes one."""

    @field_validator("arguments")
    @classmethod
    def _reject_keys(cls, arguments: tuple[str, ...]) -> tuple[str, ...]:
        if any(argument.startswith(("--api-key", "--api_key")) for argument in arguments):
            raise ValueError("leave out --api-key: other users can see a command line")
        if any(a.replace("_", "-").startswith("--trust-remote") for a in arguments):
            raise ValueError("leave out --trust-remote-code: a model's own code is never run")
        return arguments

    @field_validator("parameters")
    @classmethod
    def _reject_keys_in_parameters(cls, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        refuse_keys(parameters, "parameters")
        return parameters

    def body(self, request: JudgeRequest) -> types.Body:
        """Return the whole request, whose digest is the key of its verdicts."""
        return self._client("http://127.0.0.1/v1").body(request)

    def check_ready(self) -> None:
        """Look for vLLM and for the model's folder, which take no time to miss.

        Raises:
            MissingDependencyError: vLLM or its interpreter is not there.
            PolicyError: the folder does not exist, or holds no model.
            JudgeError: the server at `base_url` cannot be asked.
        """
        if self.base_url:
            readiness.check_client(self._client(self.base_url), self.served_as)
            return
        check_policy_path(types.Policy(self.model, self.path, self.revision))
        self._check_vllm()

    def ask(self, queue: RequestQueue) -> None:
        """Serve the model, and ask the requests of a queue until it is done.

        Raises:
            JudgeError: the server does not start or does not reply.
        """
        with self.connected() as client:
            client.ask(queue)

    @contextmanager
    def connected(self) -> Iterator[OpenAIClient]:
        """Yield the client of a server that is up; the own one ends with the context.

        Raises:
            MissingDependencyError: vLLM is not installed.
            JudgeError: the own server does not start.
        """
        if self.base_url:
            yield self._client(self.base_url)
            return
        self._check_vllm()
        with serving(self._command, self.log or Path("runs", LOG_FILE), self.start_seconds) as url:
            yield self._client(url)

    def with_log_in(self, folder: Path) -> Self:
        """Return this client with its server's log in a folder, unless the log is named."""
        return self if self.log else self.model_copy(update={"log": folder / LOG_FILE})

    @property
    def url(self) -> str:
        """The server's address; its own is on loopback, needs no key and costs nothing."""
        return self.base_url or "http://127.0.0.1/v1"

    @property
    def display_name(self) -> str:
        """The judge as error messages name it."""
        return f"the judge {self.model} at {self.url}"

    def _check_vllm(self) -> None:
        has_vllm = shutil.which(self.python) if self.python else find_spec("vllm")
        if not has_vllm:
            raise MissingDependencyError(
                f"the judge {self.model} is served with vLLM, which "
                f"{self.python or 'this environment'} has not: `make vllm`, or pip install "
                "'preference-harness[vllm]', or name an interpreter that has it with "
                "--set judge.python=PATH"
            )

    def _client(self, url: str) -> OpenAIClient:
        return OpenAIClient(
            model=self.model,
            served_as=self.served_as,
            deployment=self.deployment if self.base_url else None,
            base_url=url,
            api_key_env=self.api_key_env if self.base_url else NO_KEY,
            concurrency=self.concurrency,
            timeout=self.timeout,
            patience=self.patience,
            attempts=ATTEMPTS,
            unparsed_attempts=self.unparsed_attempts,
            parameters=self.parameters,
        )

    def _command(self, port: int) -> list[str]:
        options: dict[str, Any] = {
            "--model": self.path,
            "--served-model-name": self.model,
            "--revision": self.revision,
            "--max-model-len": self.max_model_len,
            "--host": "127.0.0.1",
            "--port": port,
        }
        flags = [str(part) for pair in options.items() if pair[1] is not None for part in pair]
        module = ("-m", "vllm.entrypoints.openai.api_server")
        eager = () if has_nvidia_device() else CPU_ARGUMENTS
        return [self.python or sys.executable, *module, *flags, *eager, *self.arguments]


@contextmanager
def serving(command: Any, log: Path, seconds: float) -> Iterator[str]:
    """Start `command(port)`, wait until it responds, yield its URL, and stop it.

    Raises:
        JudgeError: it does not start; the last lines of its log say why.
    """
    port = _free_port()
    with report_disk_errors(log):
        log.parent.mkdir(parents=True, exist_ok=True)
    with report_disk_errors(log), open(log, "wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-I", guard.__file__, *command(port)],
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=subprocess.STDOUT,
            env=environment(),
            start_new_session=True,
        )
    LOGGER.info("the judge's server is starting (its log is %s)", log)
    try:
        _wait_until_ready(process, f"http://127.0.0.1:{port}", log, seconds)
        yield f"http://127.0.0.1:{port}/v1"
    except JudgeError as error:
        if process.poll() is None or str(error).startswith(ENDED_MESSAGE):
            raise
        raise JudgeError(f"{ENDED_MESSAGE} while it was in use: {_tail(log)}") from error
    finally:
        _stop(process)


def environment() -> dict[str, str]:
    """Return the environment of the server's process, which leaves out API keys."""
    inherited = {name: value for name, value in os.environ.items() if not name.endswith(KEY_SUFFIX)}
    return {**({} if has_nvidia_device() else CPU_ENVIRONMENT), **inherited}


def _wait_until_ready(
    process: subprocess.Popen[bytes], url: str, log: Path, seconds: float
) -> None:
    deadline = time.monotonic() + seconds
    while True:
        with suppress(urllib.error.URLError, OSError), _open_url(f"{url}/health"):
            return
        if process.poll() is not None:
            raise JudgeError(f"{ENDED_MESSAGE} ({process.returncode}): {_tail(log)}")
        if time.monotonic() > deadline:
            raise JudgeError(
                f"the judge's server did not come up within {seconds:g} s ({_tail(log)}): see "
                f"{log}, or wait longer with --set judge.start_seconds=SECONDS"
            )
        time.sleep(POLL_SECONDS)


def _open_url(url: str) -> Any:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    return opener.open(url, timeout=5)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Stop the server and its descendants, which the guard does when its input is closed."""
    assert process.stdin is not None
    process.stdin.close()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _tail(log: Path) -> str:
    return f"{log_tail(log, LOG_LINES)}; the whole log is {log}"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port

"""The task of each node of a Slurm job: it starts Ray there; the first node's runs the schedule.

The tasks run `ray start --block` and not `ray symmetric-run`, which refuses a node on which another
job's Ray runs, and which ends with `ray stop`: every Ray process of the user on that node.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from harness.core import jobs
from harness.core.io import write_atomically
from harness.core.processes import die_with_parent
from harness.errors import HarnessError
from harness.launchers import error_files
from harness.launchers.ray import QUIET_VARIABLES, connect

RUN_FILE, DONE_FILE, TOKEN_FILE = "run.json", "done", "token"
POLL_SECONDS = 0.5
SHUTDOWN_SECONDS = 30.0


@dataclass(frozen=True)
class SlurmTask:
    """A task, which submitit stores for the job, and calls again after a requeue."""

    directory: str
    """Holds the run, the token, and the result; seen by every node under this path."""
    nodes: int
    cpus: int
    """CPU cores per node."""
    gpus: int
    """GPUs per node."""
    start_timeout: float
    """Seconds in which every node must have joined."""

    def __call__(self) -> None:
        """Lead the run on the first node, or lend this node to it.

        Raises:
            HarnessError: raised by the run, or nodes are missing.
        """
        from submitit.helpers import TorchDistributedEnvironment

        task = TorchDistributedEnvironment()
        directory = Path(self.directory)
        os.environ.update(QUIET_VARIABLES)  # these before Ray is imported, which reads them then
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ["RAY_AUTH_TOKEN_PATH"] = str(directory / TOKEN_FILE)
        host, port = self._host(task.master_addr), task.master_port
        os.environ["RAY_ADDRESS"] = f"{host}:{port}"
        if task.rank:
            self._lend(host, port, directory)
            return
        try:
            self._lead(host, port, directory)
        except HarnessError as error:
            error_files.write(directory, error)
            raise
        write_atomically(directory / DONE_FILE, "")

    def _host(self, name: str) -> str:
        if self.nodes > 1:
            return socket.gethostbyname(name)
        import ray.util

        address: str = ray.util.get_node_ip_address()  # needs no name service
        return address

    def _lead(self, host: str, port: int, directory: Path) -> None:
        with ray_node(*head_arguments(host, port), *self._resources()) as node:
            wait_for_port(host, port, self.start_timeout, node)
            handler = signal.getsignal(signal.SIGTERM)
            ray = connect_to_head(f"{host}:{port}", self.start_timeout, node)
            signal.signal(signal.SIGTERM, handler)  # submitit's, which Ray has replaced
            try:
                wait_for_nodes(ray, self.nodes, self.start_timeout)
                run, payload = jobs.read_call(directory / RUN_FILE)
                run(payload)
            finally:
                ray.shutdown()

    def _lend(self, host: str, port: int, directory: Path) -> None:
        wait_for_port(host, port, self.start_timeout)
        while is_open(host, port) and not has_ended(directory):
            with ray_node(f"--address={host}:{port}", *self._resources()) as node:
                while node.poll() is None and not has_ended(directory):
                    time.sleep(POLL_SECONDS)

    def _resources(self) -> tuple[str, str]:
        return f"--num-cpus={self.cpus}", f"--num-gpus={self.gpus}"

    def checkpoint(self) -> Any:
        """Return what a requeued job does: the same, from the finished stages (submitit's hook)."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def head_arguments(host: str, port: int) -> list[str]:
    """Return the arguments of `ray start` for a head that shares its machine with other Rays."""
    arguments = ["--head", "--include-dashboard=false", f"--node-ip-address={host}"]
    arguments.append(f"--port={port}")
    if find_spec("grpc"):  # Ray Client is installed: its server would listen on 10001
        arguments.append(f"--ray-client-server-port={port + 1}")
    return arguments


@contextmanager
def ray_node(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a Ray node on this machine; all of its processes end with the context."""
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", *arguments]
    node = subprocess.Popen(
        [*command, "--disable-usage-stats"],
        env=os.environ | {"RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0"},  # the run has ended
        preexec_fn=detach_signals,
    )
    try:
        yield node
    finally:
        node.terminate()
        try:
            node.wait(SHUTDOWN_SECONDS)
        except subprocess.TimeoutExpired:
            node.kill()
            node.wait()


def detach_signals() -> None:
    """End with the parent, and leave Slurm's notice of the time limit to it."""
    die_with_parent()
    for number in (signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)


def wait_for_port(
    host: str, port: int, timeout: float, head: subprocess.Popen[bytes] | None = None
) -> None:
    """Wait until the head's port accepts connections.

    Args:
        host: the head's address.
        port: the head's port.
        timeout: seconds.
        head: the head's process, where it is on this node.

    Raises:
        HarnessError: it does not, or the head's process has ended.
    """
    deadline = time.monotonic() + timeout
    while not is_open(host, port):
        if time.monotonic() > deadline or (head and head.poll() is not None):
            raise HarnessError(
                f"no Ray head answers at {host}:{port}: the log of the job's first task shows why; "
                "run the same command again"
            )
        time.sleep(POLL_SECONDS)


def connect_to_head(address: str, timeout: float, head: subprocess.Popen[bytes]) -> Any:
    """Return Ray, connected to a head whose port is open but which may still be starting.

    Raises:
        HarnessError: it does not answer, or its process has ended.
    """
    deadline = time.monotonic() + timeout
    while True:
        try:
            return connect(address)
        except HarnessError:
            if time.monotonic() > deadline or head.poll() is not None:
                raise
        time.sleep(POLL_SECONDS)


def is_open(host: str, port: int) -> bool:
    """Say whether a port accepts connections."""
    try:
        socket.create_connection((host, port), timeout=POLL_SECONDS).close()
    except OSError:
        return False
    return True


def wait_for_nodes(ray: Any, nodes: int, timeout: float) -> None:
    """Wait until every node of the job has joined the cluster.

    Raises:
        HarnessError: some have not.
    """
    deadline = time.monotonic() + timeout
    while (joined := sum(node["Alive"] for node in ray.nodes())) < nodes:
        if time.monotonic() > deadline:
            raise HarnessError(
                f"{joined} of {nodes} nodes have joined the Ray cluster in {timeout:.0f} s: the "
                "logs of the other tasks show why; raise launcher.start_timeout for slow nodes"
            )
        time.sleep(POLL_SECONDS)


def has_ended(directory: Path) -> bool:
    """Say whether the run has ended, well or not; a listing shows other nodes' files at once."""
    return bool({DONE_FILE, error_files.ERROR_FILE} & {path.name for path in directory.iterdir()})

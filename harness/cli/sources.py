"""What `--policy` and `--run` name."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.protocols import PolicySource
    from harness.runs import Workspace


def policy(name: str) -> PolicySource:
    """Return a policy by the name of its configuration, or by its path or hub id."""
    from harness import config
    from harness.training.sources import Pretrained

    if name in config.names("policy"):
        source: PolicySource = config.build(config.load("policy", name), "policy")
        return source
    return Pretrained(name=name.rstrip("/").rpartition("/")[2], path=name)


def trained(workspace: Workspace, name: str) -> tuple[str, PolicySource]:
    """Return (label, policy) of `RUN` or `RUN@ITERATION`; iteration 0 is the start.

    Raises:
        ConfigError: there is no such run.
        StoreError: the run has not come so far.
    """
    from harness import config
    from harness.errors import ConfigError
    from harness.training import named, run

    base, _, iteration = name.partition("@")
    found = run.read(workspace, base)
    if found is None:
        raise ConfigError(f"no run called {base!r}{config.known(base, named.names(workspace))}")
    if iteration and not iteration.isdigit():
        raise ConfigError(f"--run {name!r}: write RUN@ITERATION with a number, e.g. {base}@1")
    source = found.source(int(iteration) if iteration else None)
    return source.name, source

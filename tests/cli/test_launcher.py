"""`--launcher NAME` selects a launcher of configs/launcher, and `--set` overrides its keys."""

from __future__ import annotations

import subprocess
import sys

import pytest

from harness.api.training import build_spec
from harness.errors import ConfigError
from harness.launchers.local import LocalLauncher
from harness.launchers.ray import RayLauncher


def launcher(name: str | None, *overrides: str):
    return build_spec("toy/inpo", overrides, name).launcher


def test_the_launcher_is_the_named_one_and_its_keys_can_be_set():
    assert launcher("ray") == RayLauncher()
    assert launcher("ray", "launcher.workers=2", "launcher.address=auto") == RayLauncher(
        workers=2, address="auto"
    )
    assert launcher(None, "launcher.workers=2") == LocalLauncher(workers=2)


def test_an_unknown_launcher_is_reported_with_the_known_ones():
    with pytest.raises(ConfigError, match="no launcher called 'rey'; did you mean 'ray'"):
        launcher("rey")


def test_the_launcher_that_was_removed_is_refused_with_what_to_use():
    with pytest.raises(ConfigError, match="'torchrun' was removed: .*--launcher ray.*local"):
        launcher("torchrun")
    with pytest.raises(ConfigError, match="'tasks' is now 'workers_per_node'"):
        launcher("slurm", "launcher.tasks=2")


def test_the_clusters_packages_are_loaded_by_who_uses_them_only():
    code = (
        "import sys; from harness.core import config; from harness.cli import main\n"
        "for name in config.names('launcher'): config.build(config.load('launcher', name))\n"
        "sys.exit('ray' in sys.modules or 'submitit' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0

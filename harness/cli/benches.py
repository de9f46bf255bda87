"""Benchmarks as the command line builds them: those that a judge grades, and tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from harness.cli import grading

if TYPE_CHECKING:
    from pathlib import Path


def benchmark(name: str, overrides: Sequence[str], assets: Path | None, compat: str | None) -> Any:
    """Build a benchmark whose answers a judge grades.

    Raises:
        ConfigError: nobody judges there.
    """
    from harness.errors import ConfigError
    from harness.evaluation.examination import Examination

    found = of_any_kind(name, overrides, assets, compat)
    if isinstance(found, Examination):
        raise ConfigError(
            f"nobody judges in {found.name}, its answers are known: a policy takes its tasks with "
            f"`harness eval --bench {name} --policy POLICY`"
        )
    return found


def of_any_kind(
    name: str, overrides: Sequence[str], assets: Path | None, compat: str | None
) -> Any:
    """Build a benchmark, or tasks that nobody judges."""
    grading.use_assets(assets)
    added = [f"{grading.SCORE}compat={compat}"] if compat else []
    return grading.component("bench", name, [*overrides, *added])


def judged(assets: Path | None) -> dict[str, Any]:
    """Build every benchmark of configs/bench whose answers a judge grades, by name."""
    from harness import config
    from harness.evaluation.examination import Examination

    found = {name: of_any_kind(name, [], assets, None) for name in config.names("bench")}
    return {name: one for name, one in found.items() if not isinstance(one, Examination)}

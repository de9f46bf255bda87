"""`harness judge bridge`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from harness.cli import benches, comparing, grading, screen

EXAMPLE = "Example: harness judge bridge --to gpt-4.1 --prompts 100 --budget 20"


def command(
    to: Annotated[str, typer.Option("--to", metavar="JUDGE", help="Of configs/judge.")],
    old: Annotated[
        str, typer.Option("--from", metavar="JUDGE", help="Whose verdicts are published.")
    ] = "gpt-4-1106-preview",
    bench: grading.BenchOption = "alpaca-eval",
    verdicts: Annotated[
        list[Path] | None,
        typer.Option("--verdicts", help="Files of it; the protocol data's if not said."),
    ] = None,
    prompts: Annotated[
        int | None, typer.Option("--prompts", min=2, help="How many are drawn; all if not said.")
    ] = None,
    again: Annotated[
        int, typer.Option("--again", min=0, help="How many are asked twice, and swapped.")
    ] = 50,
    base_url: grading.UrlOption = None,
    budget: grading.BudgetOption = None,
    accept_judge: grading.AcceptJudgeOption = None,
    assets: screen.AssetsOption = None,
    overrides: screen.SetOption = None,
    root: screen.WorkspaceOption = screen.RUNS,
    as_json: screen.JsonOption = False,
) -> None:
    """Have a new judge grade what an old one graded, and set the two side by side.

    Scores of every model under both, the order of the models, bias, agreement, the preference for
    the first answer, self-consistency, and the cost, with intervals; `harness report` shows it.
    """
    from harness.evaluation.bridge import Bridge, build

    place, given = screen.workspace(root), overrides or []
    benchmark = benches.benchmark(bench, given, assets, None)
    terms = {"budget": budget, "accepted": accept_judge}
    judge = grading.judge(to, given, base_url, place, terms)
    paths = verdicts or published(benchmark, bench, old, assets)
    contestants = [graded for path in paths for graded in benchmark.read_verdicts(path)]
    found = build(Bridge(benchmark, old, judge, contestants, prompts, again), place)
    screen.show(found) if as_json else comparing.print_bridge(found)


def published(benchmark: Any, name: str, judge: str, assets: Path | None) -> list[Path]:
    """Return the files of the protocol data with a judge's verdicts on several models."""
    from harness.benchmarks import assets as protocol
    from harness.errors import AssetError

    folder = protocol.folder(assets) / name.replace("-", "_") / "annotations"
    found = sorted(folder.glob("*.json*")) if judge == benchmark.usual_judge else []
    if not found:
        raise AssetError(
            f"no verdicts of {judge} on {name} in {folder}: name files that have some with "
            "--verdicts"
        )
    return found

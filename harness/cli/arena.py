"""`harness arena CONTESTANT... --prompts SET`: who beats whom, and how far from Nash."""

from __future__ import annotations

import json
import shutil
import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli import display, options, printing
from harness.cli.leaderboard import ToOption, write_output
from harness.cli.options import RUNS, completer

if TYPE_CHECKING:
    from harness.api.arena import ArenaResult
    from harness.evaluation.arena import ArenaPlan

EXAMPLE = "Example: harness arena toy/inpo toy/iterative-dpo --prompts toy-weighted --oracle toy"

ContestantsArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="CONTESTANT...",
        help="Runs (all iterations), RUN@ITERATION, policies, or files of answers.",
    ),
]
PromptsOption = Annotated[
    str,
    typer.Option(
        "--prompts",
        metavar="SET",
        help="A benchmark, a file of prompts, or a run, for its held-out prompts.",
        autocompletion=completer("bench"),
    ),
]
OracleOption = Annotated[
    str | None,
    typer.Option(
        "--oracle",
        help="An oracle of configs/oracle that compares the answers.",
        autocompletion=completer("oracle"),
    ),
]
JudgeOption = Annotated[
    str | None,
    typer.Option(
        "--judge",
        help="A judge of configs/judge that compares instead, by the protocol of the benchmark.",
        autocompletion=completer("judge"),
    ),
]
NameOption = Annotated[str, typer.Option("--name", help="The name of the arena's file.")]
ComparisonsOption = Annotated[
    int | None,
    typer.Option(
        "--comparisons",
        min=2,
        help="The most comparisons, both orders counted: a sparse design chooses them.",
    ),
]
RoundsOption = Annotated[int, typer.Option("--rounds", min=100, help="Resamples of prompts.")]
SeedOption = Annotated[int, typer.Option("--seed", help="Of the answers and the resamples.")]


class ArenaFormat(StrEnum):
    """An output format of an arena."""

    RICH = "rich"
    MD = "md"
    LATEX = "latex"
    CSV = "csv"
    HTML = "html"
    JSON = "json"


def command(
    contestants: ContestantsArgument,
    prompts: PromptsOption,
    oracle: OracleOption = None,
    judge: JudgeOption = None,
    base_url: options.BaseUrlOption = None,
    budget: options.BudgetOption = None,
    price: options.PriceOption = None,
    engine: Annotated[str, typer.Option("--engine", help="An engine of configs/engine.")] = "auto",
    assets: options.AssetsOption = None,
    overrides: options.SetOption = None,
    name: NameOption = "arena",
    seed: SeedOption = 0,
    rounds: RoundsOption = 1000,
    comparisons: ComparisonsOption = None,
    output_format: Annotated[
        ArenaFormat, typer.Option("--format", help="The output format; html has a heat map.")
    ] = ArenaFormat.RICH,
    to: ToOption = None,
    dry_run: options.DryRunOption = False,
    root: options.WorkspaceOption = RUNS,
    as_json: options.JsonOption = False,
) -> None:
    """Have contestants answer the same prompts, compare every pair, and analyse the game.

    Prints the matrix of win rates, ratings with the share that no rating explains, the Nash
    mixture of the pool, and each contestant's gap over the pool, by iteration of a run. Answers
    and comparisons are cached: the same command goes on where a killed one was.
    """
    from harness.api.arena import hold_arena, prepare
    from harness.api.components import select_overrides
    from harness.api.judging import judge as configure_judge
    from harness.evaluation.arena import plan_arena

    workspace, override_list = display.open_workspace(root), overrides or []
    configured = None
    if judge is not None:
        selected = select_overrides(override_list, "judge")
        limits: dict[str, Any] = {"base_url": base_url, "budget": budget, "price": price}
        configured = configure_judge(judge, **limits, overrides=selected)
        display.warn_of_retirement(configured)
    sources: dict[str, Any] = {"prompts": prompts, "oracle": oracle, "judge": configured}
    sources |= {"engine": engine, "overrides": override_list, "assets": assets, "seed": seed}
    sources["comparisons"] = comparisons
    prepared = prepare(contestants, workspace, **sources)
    if dry_run:
        show_plan(plan_arena(prepared, workspace), as_json=as_json)
        return
    result = hold_arena(prepared, workspace, name=name, rounds=rounds)
    chosen = ArenaFormat.JSON if as_json else output_format
    write_output(render(result, chosen.value), to)
    printing.notify(f"filed as {result.path}")


def show_plan(plan: ArenaPlan, *, as_json: bool) -> None:
    """Print what an arena would do: answers, comparisons, dollars."""
    if as_json:
        counts = {
            key: getattr(plan, key) for key in ("contestants", "prompts", "pairs", "comparisons")
        }
        dollars = plan.cost.dollars if plan.cost else None
        data = {"stages": display.plan_data(plan.stages), "dollars": dollars, **counts}
        display.print_json(data)
        return
    display.print_stages(plan.stages)
    printing.print_line(
        f"{plan.contestants} contestants answer {plan.prompts} prompts; {plan.pairs} pairs are "
        f"compared in both orders: {plan.comparisons} comparisons at most."
    )
    if plan.cost is not None:
        price = "dollars unknown" if plan.cost.dollars is None else f"${plan.cost.dollars:.2f}"
        printing.print_line(
            f"The judge is asked {plan.cost.calls} times at most: {price}, about "
            f"{plan.cost.minutes / 60:.1f} hours ({plan.cost.grounds})."
        )


def render(result: ArenaResult, output_format: str) -> str:
    """Return an arena's tables in a format."""
    from leaderboard import formats

    match output_format:
        case "rich":
            is_terminal = sys.stdout.isatty()
            width = max(formats.MIN_WIDTH, shutil.get_terminal_size().columns)
            return formats.render_rich(
                result.tables, color=is_terminal, width=width if is_terminal else None
            )
        case "md":
            return formats.render_markdown(result.tables)
        case "latex":
            return result.to_latex()
        case "csv":
            return formats.render_csv(result.tables)
        case "html":
            return result.to_html()
    from harness.core.workspace.arenas import read_arena

    return json.dumps(read_arena(result.path), indent=1, sort_keys=True) + "\n"

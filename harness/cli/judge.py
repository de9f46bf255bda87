"""`harness judge doctor` and `harness judge bridge`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.api import components
from harness.cli import display, options, printing
from harness.cli.display import format_dollars, print_price

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from harness.types import CostEstimate, JudgeRequest


EXAMPLE = "Example: harness judge doctor gpt-4.1"
BRIDGE_EXAMPLE = "Example: harness judge bridge --to gpt-4.1 --prompts 100 --budget 20"
SCORE_EXAMPLE = "Example: harness judge score gpt-4.1 --budget 5"
app = typer.Typer(help="Check judges, and compare two of them.", no_args_is_help=True)
CAN_WITH = "; can with --set"
MARKS = {"ok": "ok  ", "note": "    ", "bad": "BAD "}


@app.callback()
def group() -> None:
    """Check judges, and compare two of them."""


@app.command("doctor", epilog=EXAMPLE)
def doctor(
    name: Annotated[str, typer.Argument(metavar="JUDGE", help="A judge of configs/judge.")],
    base_url: options.BaseUrlOption = None,
    bench: Annotated[
        list[str] | None,
        typer.Option("--bench", help="A benchmark that it must be able to grade; default: all."),
    ] = None,
    assets: options.AssetsOption = None,
    overrides: options.SetOption = None,
    as_json: options.JsonOption = False,
) -> None:
    """Check a judge's server: small calls, and one request as each benchmark will send it.

    Is it reachable, is the key valid, which model does it serve and until when, does it return
    log-probabilities, what does it call the length limit, how fast is it, what are its rate limits,
    which benchmarks can it grade, and what does that cost? The exit code is 0 only if it can grade
    all of them, or those of `--bench`. `--set` overrides keys of the judge.
    """
    from harness.errors import JudgeError
    from harness.judges import doctor
    from harness.judges.trials import Trial

    judge_overrides = [f"judge.{override}" for override in overrides or ()]
    judge = components.build_component("judge", name, judge_overrides, {"base_url": base_url})
    benchmarks = components.judged_benchmarks(assets)
    selected = typical(benchmarks, bench or ())
    trials = [
        Trial(name, max(requests, key=prompt_length), benchmarks[name])
        for name, requests in selected.items()
    ]
    findings = doctor.examine(judge, trials)
    able = {f.subject for f in findings if f.state == "ok" or CAN_WITH in f.detail}
    estimates = {
        name: estimate_cost(judge, benchmarks[name], requests)
        for name, requests in selected.items()
        if name in able
    }
    if as_json:
        costs = {bench: asdict(estimate) for bench, estimate in estimates.items()}
        display.print_json(
            {"findings": [asdict(finding) for finding in findings], "benchmarks": costs}
        )
    else:
        for finding in findings:
            printing.print_line(f"{MARKS[finding.state]}{finding.subject}: {finding.detail}")
        for benchmark, estimate in estimates.items():
            price = format_dollars(estimate.dollars)
            printing.print_line(
                f"    {benchmark}: {price} and {estimate.minutes:.0f} minutes per contestant"
            )
        for estimate in {item.price: item for item in estimates.values()}.values():
            print_price(estimate)
    if faults := [f"{f.subject}: {f.detail}" for f in findings if f.state == "bad"]:
        raise JudgeError(f"{name} cannot be used as it is: {'; '.join(faults)}")


def typical(
    benchmarks: Mapping[str, Any], chosen: Sequence[str]
) -> dict[str, Sequence[JudgeRequest]]:
    """Return the typical requests of the chosen benchmarks, or of all whose data is present.

    Raises:
        ConfigError: no judge grades a chosen benchmark, or its data is missing.
    """
    from harness.errors import ConfigError
    from harness.evaluation.run import typical_requests
    from harness.protocols import CheckedBenchmark

    requests = {
        name: typical_requests(benchmark)
        for name, benchmark in benchmarks.items()
        if (not chosen or name in chosen) and not isinstance(benchmark, CheckedBenchmark)
    }
    if lacking := [name for name in chosen if not requests.get(name)]:
        raise ConfigError(
            f"{', '.join(lacking)}: no benchmark that a judge grades, or its data is missing "
            "(`harness ls bench`, `harness assets pull`)"
        )
    return {name: some for name, some in requests.items() if some}


def prompt_length(request: JudgeRequest) -> int:
    """Return the number of characters of a request."""
    return sum(len(message.content) for message in request.messages)


def estimate_cost(judge: Any, benchmark: Any, requests: Sequence[JudgeRequest]) -> CostEstimate:
    """Return the cost estimate of judging a benchmark."""
    from harness.judges.cached import CachedJudge

    return CachedJudge(client=judge, store=Path("nowhere")).estimate_cost(requests, benchmark)


@app.command("bridge", epilog=BRIDGE_EXAMPLE)
def bridge(
    to: Annotated[
        str, typer.Option("--to", metavar="JUDGE", help="The new judge, of configs/judge.")
    ],
    old: Annotated[
        str, typer.Option("--from", metavar="JUDGE", help="The old judge, with published verdicts.")
    ] = "gpt-4-1106-preview",
    bench: options.BenchOption = "alpaca-eval",
    verdicts: Annotated[
        list[Path] | None,
        typer.Option("--verdicts", help="Files with the old verdicts; default: the protocol data."),
    ] = None,
    prompts: Annotated[
        int | None,
        typer.Option("--prompts", min=2, help="How many prompts to sample; default: all."),
    ] = None,
    repeats: Annotated[
        int, typer.Option("--again", min=0, help="How many requests to repeat, and to ask swapped.")
    ] = 50,
    base_url: options.BaseUrlOption = None,
    budget: options.BudgetOption = None,
    price: options.PriceOption = None,
    accept_judge: options.AcceptJudgeOption = None,
    assets: options.AssetsOption = None,
    overrides: options.SetOption = None,
    root: options.WorkspaceOption = options.RUNS,
    as_json: options.JsonOption = False,
) -> None:
    """Have a new judge grade the answers that an old judge graded, and compare the two.

    The comparison has every model's score under both judges, the rank correlation, bias, agreement,
    the preference for the first answer, self-consistency and the cost, with intervals.
    `harness report` shows it.
    """
    from harness.api.judging import judge as configure_judge
    from harness.evaluation.judge_bridge import JudgeBridge, run_bridge

    workspace, override_list = display.open_workspace(root), overrides or []
    benchmark = components.build_judged_benchmark(bench, override_list, assets, None)
    configured = configure_judge(
        to,
        budget=budget,
        price=price,
        base_url=base_url,
        accept_models=accept_judge or (),
        overrides=components.select_overrides(override_list, "judge"),
    )
    judge = configured.bind(workspace)
    paths = verdicts or published_verdicts(benchmark, bench, old, assets)
    contestants = [graded for path in paths for graded in benchmark.read_verdicts(path)]
    comparison = run_bridge(
        JudgeBridge(benchmark, old, judge, contestants, prompts, repeats), workspace
    )
    if as_json:
        display.print_json(comparison)
    else:
        display.print_judge_bridge(comparison)


@app.command("score", epilog=SCORE_EXAMPLE)
def score(
    name: Annotated[
        str, typer.Argument(metavar="JUDGE|ORACLE|FILE", help="Of configs/judge or configs/oracle.")
    ],
    responses: Annotated[
        str, typer.Option("--responses", help="The model whose responses are compared.")
    ] = "gpt-4o-2024-05-13",
    base_url: options.BaseUrlOption = None,
    budget: options.BudgetOption = None,
    price: options.PriceOption = None,
    accept_judge: options.AcceptJudgeOption = None,
    assets: options.AssetsOption = None,
    overrides: options.SetOption = None,
    root: options.WorkspaceOption = options.RUNS,
    as_json: options.JsonOption = False,
) -> None:
    """Have a judge or an oracle decide JudgeBench's labelled pairs in both orders.

    Shows the accuracy by category, the agreement of both orders, the preference for the first
    slot, and the cost. A FILE holds stored verdicts in the layout of JudgeBench's outputs.
    """
    from harness.api.judge_scores import score_judge

    scored = score_judge(
        name,
        responses=responses,
        workspace=display.open_workspace(root),
        assets=assets,
        overrides=overrides or [],
        judge_options={
            "base_url": base_url,
            "budget": budget,
            "price": price,
            "accept_models": accept_judge or (),
        },
    )
    if as_json:
        display.print_json(scored.to_data())
        return
    printing.print_line(f"{scored.name} on {scored.benchmark}")
    display.print_score(scored.score)
    if scored.usage is not None:
        display.print_usage(scored.usage)


def published_verdicts(benchmark: Any, name: str, judge: str, assets: Path | None) -> list[Path]:
    """Return the files of the protocol data with a judge's verdicts on several models."""
    from harness.core.hub import assets_directory
    from harness.errors import AssetError

    folder = assets_directory(assets) / name.replace("-", "_") / "annotations"
    paths = sorted(folder.glob("*.json*")) if judge == benchmark.default_judge else []
    if not paths:
        raise AssetError(
            f"no verdicts of {judge} on {name} in {folder}: name files with --verdicts"
        )
    return paths

"""What the terminal shows: plans, results, costs, judge bridges and errors.

Results go to standard output, everything else to standard error.
"""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.cli.printing import notify, print_error, print_line, print_text
from harness.cli.progress import track
from harness.core.terminal import one_line

if TYPE_CHECKING:
    from harness.api.judging import ConfiguredJudge
    from harness.core.stages import Artifact, Stage
    from harness.core.workspace import Result, Workspace
    from harness.errors import HarnessError
    from harness.evaluation.run import EvaluationPlan
    from harness.evaluation.verdict_files import ScoredSubmission
    from harness.theory.results import ResultTable
    from harness.training.estimate import TrainingCost
    from harness.types import CostEstimate, PublishedFigure, Score, Usage

    StagePlan = Sequence[tuple[Stage, Path | None]]

BRIDGE_METRICS = ("win_rate", "length_controlled_win_rate")


def print_json(data: Any) -> None:
    """Print data as JSON."""
    print_line(json.dumps(data, indent=1, sort_keys=True))


def report_error(error: HarnessError) -> int:
    """Print an error in one line and return its exit code."""
    text = one_line(str(error), limit=None)
    print_error(f"error: {text}")
    return error.exit_code


def report_stage(stage: Stage, artifact: Artifact) -> None:
    """Print the time a stage took; print nothing for a cached stage."""
    from harness.core.manifests import load_manifest

    if artifact.created:
        seconds = load_manifest(Path(artifact.path))["provenance"]["seconds"]
        notify(f"  {stage.label or stage.name}: done in {seconds:.1f} s")


def warn_of_retirement(judge: ConfiguredJudge | None) -> None:
    """Say when a judge, or a member of a panel, retires within the next days."""
    from harness.judges.model_check import retirement_note
    from harness.judges.panel import JudgePanel

    client = judge.client if judge is not None else None
    for member in client.members if isinstance(client, JudgePanel) else [client]:
        if member is not None and (note := retirement_note(member)):
            notify(f"warning: {note}")


class LogRelay(logging.Handler):
    """Shows what the parts report, e.g. a judge's server that is starting, and where its log is."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record's message to standard error."""
        notify(f"  {record.getMessage()}")


def relay_logs() -> None:
    """Show the lines of the logger `harness`, once however often it is called."""
    logger = logging.getLogger("harness")
    if not any(isinstance(handler, LogRelay) for handler in logger.handlers):
        logger.addHandler(LogRelay(logging.INFO))
    logger.setLevel(logging.INFO)
    logger.disabled = False  # what a library's `logging.config` does to loggers that exist already


def describe_engine(engine: object) -> str:
    """Return the engine's name and, if `auto` chose it, the reason."""
    from harness.protocols import SelectableEngine

    name = type(engine).__name__.removesuffix("Engine").lower()
    reason = engine.selection_reason if isinstance(engine, SelectableEngine) else ""
    return f"engine: {name}{f' ({reason})' if reason else ''}"


def plan_data(stages: StagePlan) -> list[dict[str, Any]]:
    """Return a plan of stages as data."""
    return [
        {
            "stage": stage.name,
            "label": stage.label,
            "size": stage.size,
            "cached": path is not None,
            "path": str(path) if path else None,
            "bytes": directory_size(path) if path else None,
        }
        for stage, path in stages
    ]


def print_stages(stages: StagePlan) -> None:
    """Print every stage of a plan: its cost, and whether it is cached."""
    for stage, path in stages:
        mark = f"cached, {directory_size(path) / 1e6:.1f} MB" if path else "would run"
        detail = f"  {stage.size}" if stage.size else ""
        print_line(f"{mark:>20}  {stage.label or stage.name}{detail}")
    cached = sum(path is not None for _, path in stages)
    print_line(f"{cached} of {len(stages)} stages are cached, {len(stages) - cached} would run.")


def cost_data(cost: TrainingCost | None) -> dict[str, Any] | None:
    """Return the cost of a training as data."""
    if cost is None:
        return None
    return {**dataclasses.asdict(cost), "hours": cost.hours, "dollars": cost.dollars}


def print_cost(cost: TrainingCost | None) -> None:
    """Print the cost of a training: work and hours by stage, memory per GPU."""
    if cost is None:
        print_line("No estimate: only the prompt source knows the number of prompts.")
        return
    print_line(f"\nTotal, on {cost.gpus}:")
    for stage in cost.stages:
        hours = f"{stage.hours:8.1f} h" if stage.hours is not None else "       – h"
        work = f"{stage.count:,} {stage.unit}"
        print_line(f"{hours}  {stage.stage:<9} {work:<24} {stage.tokens / 1e6:,.0f} M tokens")
    print_line(f"{cost.hours:8.1f} h  together, {cost.comparisons_per_prompt} comparisons a prompt")
    if cost.dollars is not None:
        print_line(
            f"About ${cost.dollars:,.0f}, at ${cost.dollars_per_hour:.2f} an hour for all GPUs."
        )
    if cost.state_gb is not None and cost.activations_gb is not None:
        print_line(
            f"Training takes {cost.state_gb:.1f} GB per GPU for weights, gradients and optimizer "
            f"states and about {cost.activations_gb:.1f} GB for a micro-batch; "
            f"a GPU has {cost.memory_gb:.1f} GB."
        )
    if cost.host_gb:
        print_line(f"Offloading takes {cost.host_gb:.1f} GB of CPU memory.")
    if cost.disk_gb is not None:
        print_line(
            f"Policies and checkpoints take {cost.disk_gb:.1f} GB of disk, and downloads up to "
            f"{cost.download_gb:.1f} GB."
        )
    print_line(f"Assumed: {'; '.join(cost.assumptions)}.")


def directory_size(path: Path) -> int:
    """Return the size of a stage on disk, in bytes."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def evaluation_plan_data(plan: EvaluationPlan) -> dict[str, Any]:
    """Return the plan of an evaluation as data."""
    stored = None if plan.requests is None else plan.requests - (plan.new_requests or 0)
    counts = {"requests": plan.requests, "stored": stored, "new_requests": plan.new_requests}
    findings = [asdict(finding) for finding in plan.findings]
    cost_estimate = plan.cost_estimate and asdict(plan.cost_estimate)
    stages = plan_data(plan.stages)
    return {"stages": stages, **counts, "findings": findings, "cost_estimate": cost_estimate}


def print_evaluation_plan(plan: EvaluationPlan) -> None:
    """Print the plan of an evaluation."""
    if plan.stages:
        print_stages(plan.stages)
    if plan.requests is None or plan.new_requests is None:
        print_line("The number of requests is known once the answers exist.")
    else:
        stored = plan.requests - plan.new_requests
        print_line(
            f"{plan.requests} verdicts: {stored} stored, {plan.new_requests} would be requested."
        )
    if plan.cost_estimate is not None and plan.cost_estimate.calls:
        print_cost_estimate(plan.cost_estimate)
    for finding in plan.findings:
        print_line(f"{finding.level}: {finding.message}")


def result_data(result: Result, path: Path) -> dict[str, Any]:
    """Return a result as data, without its items."""
    return asdict(replace(result, score=replace(result.score, items=()))) | {"path": str(path)}


def print_result(result: Result, path: Path) -> None:
    """Print a result: figures, counts, notes and costs."""
    judge = ", ".join(result.judges_served) or f"{result.judge} (not asked)"
    print_line(f"{result.label} on {result.benchmark}, judged by {judge}")
    print_score(result.score)
    reasons = "  ".join(f"{name} {count}" for name, count in result.finish_reasons.items())
    print_line(f"  answers ended by: {reasons}")
    stored = result.requests - result.new_requests
    print_line(f"  verdicts requested {result.new_requests}, from the store {stored}")
    if result.usage is not None:
        print_usage(result.usage)
    print_line(f"  {path}")


def print_score(score: Score) -> None:
    """Print figures with their intervals, counts and notes."""
    for name, estimate in score.estimates.items():
        interval = (
            "" if estimate.low is None else f"  [{estimate.low:.2f}, {estimate.high:.2f}] 95 %"
        )
        error = "" if estimate.standard_error is None else f"  SE {estimate.standard_error:.2f}"
        print_line(f"  {name} {estimate.value:.2f}{interval}{error}")
    print_line("  " + "  ".join(f"{name} {count}" for name, count in score.counts.items()))
    for note in score.notes:
        print_line(f"  note: {note}")


def print_cost_estimate(estimate: CostEstimate) -> None:
    """Print the cost estimate of new requests."""
    print_line(
        f"About {format_dollars(estimate.dollars)} and {estimate.minutes:.1f} minutes: "
        f"{estimate.calls} calls, {estimate.prompt_tokens} prompt tokens, "
        f"{estimate.completion_tokens} completion tokens."
    )
    print_line(f"  {estimate.grounds}")
    print_price(estimate)


def print_price(estimate: CostEstimate) -> None:
    """Print the price behind a cost estimate, and a warning if it may be out of date."""
    if estimate.price:
        print_line(f"  {estimate.price}")
    if estimate.doubt:
        print_line(f"  warning: {estimate.doubt}")


def print_usage(usage: Usage) -> None:
    """Print the cost of the verdicts so far."""
    failures = f", {usage.failed} without a reply" if usage.failed else ""
    failures += f", {usage.refused} refused" if usage.refused else ""
    guesses = (
        f", tokens counted here for {usage.estimated} (none that can be was reported)"
        if usage.estimated
        else ""
    )
    print_line(f"  cost {format_dollars(usage.dollars)}: {usage.calls} calls{failures}{guesses}")


def format_dollars(value: float | None) -> str:
    """Format an amount of money."""
    if value is None:
        return "an unknown amount (no price in configs/prices)"
    return f"${value:.2f}" if value >= 1 or not value else f"${value:.2g}"


def print_judge_bridge(comparison: Mapping[str, Any]) -> None:
    """Print the comparison of two judges."""
    print_line(
        f"{comparison['from']} -> {comparison['to']} on {comparison['benchmark']}: "
        f"{comparison['verdicts']} verdicts on {comparison['prompts']} prompts"
    )
    for row in comparison["models"]:
        for name in BRIDGE_METRICS:
            if name in row:
                old, new = (format_estimate(row[name][side]) for side in ("old", "new"))
                print_line(f"  {row['label']:<40} {name:<28} {old}  {new}")
    figures = {
        "rank correlation (Kendall's tau)": comparison["rank_correlation"],
        "kappa": comparison["kappa"],
        "same verdict": comparison["same_verdict"],
        "bias (new minus old, of 1)": comparison["bias"],
        "first answer preferred, old": comparison["first_slot"]["old"],
        "first answer preferred, new": comparison["first_slot"]["new"],
    }
    for name in ("self_consistency", "order_consistency"):
        if comparison.get(name):
            figures[name.replace("_", "-")] = comparison[name]["same_verdict"]
    for name, estimate in figures.items():
        print_line(f"  {name}: {format_estimate(estimate)}")
    cost = comparison["cost"]
    print_line(f"  cost {format_dollars(cost['dollars'])}: {cost['calls']} calls")
    print_line(f"  {comparison['path']}")


def format_estimate(estimate: Mapping[str, Any]) -> str:
    """Format an estimate with its interval."""
    if estimate["value"] is None:
        return "unknown"
    interval = (
        "" if estimate["low"] is None else f" [{estimate['low']:.3f}, {estimate['high']:.3f}]"
    )
    return f"{estimate['value']:.3f}{interval}"


def print_tables(result_tables: Sequence[ResultTable]) -> None:
    """Print tables for a terminal."""
    from leaderboard.formats import render_rich
    from leaderboard.table import text_table

    tables = [text_table(t.title, t.headings, t.formatted_rows(), t.notes) for t in result_tables]
    print_text(render_rich(tables))


def print_task_result(result: Result, path: Path) -> None:
    """Print a result of tasks with known answers: figures, counts and notes."""
    print_line(f"{result.label} on {result.benchmark}, scored by lm-eval, without a judge")
    print_score(result.score)
    print_line(f"  {path}")


def submission_data(benchmark: str, submission: ScoredSubmission) -> dict[str, Any]:
    """Return a score from a file as data, without its items."""
    return {
        "benchmark": benchmark,
        "label": submission.graded.label,
        "judge": submission.graded.judge,
        "missing": submission.missing,
        "score": asdict(replace(submission.score, items=())),
    }


def print_submission(benchmark: str, submission: ScoredSubmission) -> None:
    """Print a score from a file."""
    graded = submission.graded
    print_line(f"{graded.label} on {benchmark}, judged by {graded.judge}")
    print_score(submission.score)


def print_published_figures(name: str, figures: Sequence[PublishedFigure]) -> None:
    """Print a benchmark's figures: published, recomputed, difference, and its explanation."""
    print_line(f"{name}: {sum(f.holds for f in figures)} of {len(figures)} as published")
    width = max((len(f.metric) for f in figures), default=0)
    for f in figures:
        mark = "ok " if f.holds else "NOT"
        difference = f.recomputed - f.published
        numbers = f"{f.published:14.8f} {f.recomputed:14.8f} {difference:+.1e} (±{f.tolerance:.0e})"
        print_line(f"  {mark} {f.metric:<{width}} {numbers}  {f.explanation}".rstrip())


def print_paths(paths: Sequence[Path], as_json: bool) -> None:
    """Print the paths of the files that were written."""
    if as_json:
        print_json([str(path) for path in paths])
        return
    for path in paths:
        print_line(str(path))


def open_workspace(root: Path) -> Workspace:
    """Return a workspace whose stages are reported and tracked on standard error."""
    relay_logs()
    from harness.core.workspace import Workspace

    return Workspace(root.expanduser().absolute(), track, report_stage)

"""How `harness eval` puts an evaluation together."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli import present, screen

if TYPE_CHECKING:
    from harness.protocols import PolicySource
    from harness.runs import Workspace

BenchOption = Annotated[
    str, typer.Option("--bench", help="Of configs/bench.", autocompletion=screen.complete("bench"))
]
BenchArgument = Annotated[
    str,
    typer.Argument(
        metavar="BENCH", help="Of configs/bench.", autocompletion=screen.complete("bench")
    ),
]
JudgeOption = Annotated[
    str | None,
    typer.Option(
        "--judge",
        help="Of configs/judge; the protocol's own if not said.",
        autocompletion=screen.complete("judge"),
    ),
]
AnswersOption = Annotated[
    Path | None, typer.Option("--answers", help="Answers as alpaca_eval's JSON, or .json.gz.")
]
PolicyOption = Annotated[
    str | None, typer.Option("--policy", help="A policy's name, folder or hub id.")
]
UrlOption = Annotated[str | None, typer.Option("--base-url", help="Where the judge is served.")]
MissingOption = Annotated[
    bool, typer.Option("--allow-missing", help="Leave out prompts without an answer.")
]
CompatOption = Annotated[
    str | None, typer.Option("--compat", help="`upstream`: score as the published code does.")
]
AcceptOption = Annotated[
    bool, typer.Option("--accept-input", help="Go on where the audit of the input would stop.")
]
BudgetOption = Annotated[
    float | None, typer.Option("--budget", min=0, help="Dollars that may be spent, at most.")
]
AcceptJudgeOption = Annotated[
    list[str] | None,
    typer.Option("--accept-judge", metavar="NAME", help="A model that may answer for the judge."),
]
BatchOption = Annotated[
    bool, typer.Option("--batch", help="Ask by OpenAI's Batch API: half the price, within a day.")
]
ResumeOption = Annotated[
    bool, typer.Option("--resume", help="Wait for what --batch has submitted, and fetch it.")
]
PARTS = ("judge", "engine")
SCORE = "score."


def overriding(overrides: Sequence[str], part: str | None) -> list[str]:
    """Return the overrides of the judge or the engine (`judge.timeout=9`), or else the rest.

    `score.KEY` is a key of the benchmark's `scoring`.
    """
    if part:
        return [o.removeprefix(f"{part}.") for o in overrides if o.startswith(f"{part}.")]
    rest = [o for o in overrides if not o.startswith(tuple(f"{p}." for p in PARTS))]
    return [f"scoring.{o.removeprefix(SCORE)}" if o.startswith(SCORE) else o for o in rest]


def component(
    kind: str, name: str, overrides: Sequence[str], given: Mapping[str, Any] | None = None
) -> Any:
    """Build what a configuration describes; options that were given are laid over it."""
    from harness.config import build, load

    spec = load(kind, name, overriding(overrides, kind if kind in PARTS else None))
    return build(spec | {key: value for key, value in (given or {}).items() if value is not None})


def use_assets(folder: Path | None) -> None:
    """Have whatever needs protocol data (or a tokenizer) look in this folder."""
    if folder is not None:
        os.environ["HARNESS_ASSETS"] = str(folder)


def judge(
    name: str,
    overrides: Sequence[str],
    base_url: str | None,
    place: Workspace,
    terms: Mapping[str, Any],
) -> Any:
    """Build a judge that keeps its verdicts in the workspace."""
    from harness.judges.choice import remembering
    from harness.judges.stored import terms_of

    asked = component("judge", name, overrides, {"base_url": base_url})
    return remembering(asked, place.verdicts, terms_of(**terms))


def engine(name: str, overrides: Sequence[str]) -> Any:
    """Build an engine, and say which one it is."""
    built = component("engine", name, overrides)
    screen.say(present.engine(built))
    return built


def contestant(
    place: Workspace, policy: str | None, run: str | None
) -> tuple[str | None, PolicySource | None]:
    """Return the label and the policy that `--run` or `--policy` names, where one does."""
    from harness.cli import sources
    from harness.errors import ConfigError

    if policy and run:
        raise ConfigError("say who answers: --answers, --policy or --run, one of them")
    if run:
        return sources.trained(place, run)
    return None, sources.policy(policy) if policy else None

"""What the commands share: options, progress, and how results and errors are shown.

Results go to standard output, everything else to standard error.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer


def completer(kind: str) -> Callable[[str], list[str]]:
    """Return what completes a configuration's name in the shell."""

    def names(incomplete: str) -> list[str]:
        from harness.core import config

        return [name for name in config.names(kind) if name.startswith(incomplete)]

    return names


ResumeOption = Annotated[
    bool, typer.Option("--resume", help="Wait for what --batch has submitted, and fetch it.")
]

BatchOption = Annotated[
    bool, typer.Option("--batch", help="Ask by OpenAI's Batch API: half the price, within a day.")
]

AcceptJudgeOption = Annotated[
    list[str] | None,
    typer.Option("--accept-judge", metavar="NAME", help="A model that may answer for the judge."),
]

BudgetOption = Annotated[
    float | None, typer.Option("--budget", min=0, help="Dollars that may be spent, at most.")
]

AcceptInputOption = Annotated[
    bool, typer.Option("--accept-input", help="Go on where the audit of the input would stop.")
]

CompatOption = Annotated[
    str | None, typer.Option("--compat", help="`upstream`: score as the published code does.")
]

AllowMissingOption = Annotated[
    bool, typer.Option("--allow-missing", help="Leave out prompts without an answer.")
]

BaseUrlOption = Annotated[str | None, typer.Option("--base-url", help="Where the judge is served.")]

PolicyOption = Annotated[
    str | None, typer.Option("--policy", help="A policy's name, folder or hub id.")
]

AnswersOption = Annotated[
    Path | None, typer.Option("--answers", help="Answers as alpaca_eval's JSON, or .json.gz.")
]

JudgeOption = Annotated[
    str | None,
    typer.Option(
        "--judge",
        help="Of configs/judge; the protocol's own if not said.",
        autocompletion=completer("judge"),
    ),
]

BenchArgument = Annotated[
    str,
    typer.Argument(metavar="BENCH", help="Of configs/bench.", autocompletion=completer("bench")),
]

BenchOption = Annotated[
    str,
    typer.Option("--bench", help="Of configs/bench.", autocompletion=completer("bench")),
]

WorkspaceOption = Annotated[
    Path, typer.Option("--workspace", envvar="HARNESS_WORKSPACE", help="Where results live.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a key, e.g. objective.eta=0.0075."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Say what would run; run nothing.")]
AssetsOption = Annotated[
    Path | None, typer.Option("--assets", help="Folder with the protocol data.")
]
RUNS = Path("runs")


LauncherOption = Annotated[
    str | None,
    typer.Option(
        help="Where it is done, of configs/launcher; --set launcher.KEY=VALUE changes it.",
        autocompletion=completer("launcher"),
    ),
]


def with_launcher(launcher: str | None, overrides: list[str] | None) -> list[str]:
    """Return a method's overrides, the launcher before those that change its keys."""
    reference = [f"launcher={json.dumps({'ref': f'launcher/{launcher}'})}"] if launcher else []
    return [*reference, *(overrides or ())]

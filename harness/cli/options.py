"""Options and arguments that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer


def completer(kind: str) -> Callable[[str], list[str]]:
    """Return a function that completes configuration names in the shell."""

    def names(incomplete: str) -> list[str]:
        from harness.core import config

        return [name for name in config.names(kind) if name.startswith(incomplete)]

    return names


BenchArgument = Annotated[
    str,
    typer.Argument(
        metavar="BENCH",
        help="A benchmark of configs/bench.",
        autocompletion=completer("bench"),
    ),
]
BenchOption = Annotated[
    str,
    typer.Option(
        "--bench", help="A benchmark of configs/bench.", autocompletion=completer("bench")
    ),
]
CompatOption = Annotated[
    str | None, typer.Option("--compat", help="`upstream`: score as the published code does.")
]
AnswersOption = Annotated[
    Path | None, typer.Option("--answers", help="Answers in alpaca_eval's JSON, .json or .json.gz.")
]
PolicyOption = Annotated[
    str | None, typer.Option("--policy", help="A policy's name, directory or hub id.")
]
AllowMissingOption = Annotated[
    bool, typer.Option("--allow-missing", help="Drop prompts without an answer.")
]
AcceptInputOption = Annotated[
    bool, typer.Option("--accept-input", help="Continue where the audit of the input would stop.")
]
JudgeOption = Annotated[
    str | None,
    typer.Option(
        "--judge",
        help="A judge of configs/judge; default: the protocol's own.",
        autocompletion=completer("judge"),
    ),
]
SecondJudgeOption = Annotated[
    str | None,
    typer.Option(
        "--second-judge",
        help="An unrelated judge that is asked about 100 of the prompts too.",
        autocompletion=completer("judge"),
    ),
]
OracleOption = Annotated[
    str | None,
    typer.Option(
        "--oracle",
        help="An oracle of configs/oracle, or `run`: its win rate beside the judge's.",
        autocompletion=completer("oracle"),
    ),
]
BaseUrlOption = Annotated[
    str | None, typer.Option("--base-url", help="The address of the judge's server.")
]
BudgetOption = Annotated[
    float | None, typer.Option("--budget", min=0, help="The most dollars to spend.")
]
PriceOption = Annotated[
    str | None,
    typer.Option(
        "--price",
        metavar="IN,OUT",
        help="The judge's price in dollars per million prompt and reply tokens; 0,0 is a price.",
    ),
]
AcceptJudgeOption = Annotated[
    list[str] | None,
    typer.Option(
        "--accept-judge", metavar="NAME", help="Another model name under which it may be served."
    ),
]
BatchOption = Annotated[
    bool, typer.Option("--batch", help="Use OpenAI's Batch API: half the price, within a day.")
]
ResumeOption = Annotated[
    bool, typer.Option("--resume", help="Wait for the batches of --batch, and fetch them.")
]

RetryMissingOption = Annotated[
    bool,
    typer.Option(
        "--retry-unread",
        help="Ask again what an earlier run left without an answer or a verdict.",
    ),
]
LauncherOption = Annotated[
    str | None,
    typer.Option(
        help="A launcher of configs/launcher; --set launcher.KEY=VALUE changes its keys.",
        autocompletion=completer("launcher"),
    ),
]
RUNS = Path("runs")
WorkspaceOption = Annotated[
    Path, typer.Option("--workspace", envvar="HARNESS_WORKSPACE", help="Directory of all results.")
]
AssetsOption = Annotated[
    Path | None, typer.Option("--assets", help="Directory with the protocol data.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a key, e.g. objective.eta=0.0075."),
]
ReplaceOption = Annotated[
    bool,
    typer.Option(
        "--replace",
        help="Overwrite a result of the same benchmark, contestant, judge and baseline.",
    ),
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Print the plan and run nothing.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]

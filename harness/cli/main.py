"""The `harness` command: one command a file; an error is one line and a documented exit code."""

import gc
import io
import logging
import os
import shlex
import sys
import traceback
import warnings
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Annotated, TextIO

import typer

from harness.cli import (
    arena,
    assets,
    config,
    demo,
    exchange,
    judge,
    leaderboard,
    ls,
    report,
    runs,
    score,
    sweep,
    theory,
    train,
    trust,
    verdicts,
    verify,
    workspace,
)
from harness.cli import eval as evaluate
from harness.cli.display import report_error
from harness.cli.printing import notify, print_line
from harness.core.extras import missing_extra
from harness.core.terminal import printable, printable_lines
from harness.errors import HarnessError

app = typer.Typer(
    name="harness",
    help="Train language models with INPO and its baselines, have judges grade them, compare them.",
    epilog="Start with `harness demo`. Exit codes: see `python -m pydoc harness.errors`.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("demo", epilog=demo.EXAMPLE)(demo.command)
app.command("train", epilog=train.EXAMPLE)(train.command)
app.command("eval", epilog=evaluate.EXAMPLE)(evaluate.command)
app.command("arena", epilog=arena.EXAMPLE)(arena.command)
app.command("sweep", epilog=sweep.EXAMPLE)(sweep.command)
app.command("score", epilog=score.EXAMPLE)(score.command)
app.command("verify", epilog=verify.EXAMPLE)(verify.command)
app.command("import", epilog=exchange.IMPORT)(exchange.import_results)
app.command("export", epilog=exchange.EXPORT)(exchange.export_results)
app.command("leaderboard", epilog=leaderboard.EXAMPLE)(leaderboard.command)
app.command("report", epilog=report.EXAMPLE)(report.command)
app.command("ls", epilog=ls.EXAMPLE)(ls.command)
app.command("trust", epilog=trust.EXAMPLE)(trust.command)
app.add_typer(runs.app, name="runs", epilog=runs.EXAMPLE)
app.add_typer(workspace.app, name="workspace", epilog=workspace.EXAMPLE)
app.add_typer(assets.app, name="assets", epilog=assets.EXAMPLE)
app.add_typer(theory.app, name="theory", epilog=theory.EXAMPLE)
app.add_typer(config.app, name="config", epilog=config.EXAMPLE)
app.add_typer(judge.app, name="judge", epilog=judge.EXAMPLE)
app.add_typer(verdicts.app, name="verdicts", epilog=verdicts.EXAMPLE)
TRUST_OPTION = "--trust"
STOPPED = 130
"""The exit code after Ctrl-C."""
CONTINUING = ("train", "eval", "sweep", "demo")
"""Commands that go on where they were stopped."""


def show_version(wanted: bool) -> None:
    """Print the version and exit, if it is wanted."""
    if wanted:
        from importlib.metadata import version

        print_line(f"preference-harness {version('preference-harness')}")
        raise typer.Exit


@app.callback()
def group(
    folders: Annotated[
        list[Path] | None,
        typer.Option(
            TRUST_OPTION,
            metavar="DIR",
            help="Let configurations run the code in this folder, this time; also after COMMAND.",
        ),
    ] = None,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=show_version, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Train language models with INPO and its baselines, have judges grade them, compare them."""
    from harness.core.trust import trust_for_now

    for folder in folders or ():
        trust_for_now(folder)


def main() -> None:
    """Run the command line."""
    sys.excepthook, warnings.showwarning = print_traceback, print_warning
    make_logs_printable()
    # torch's idle threads spin; on a busy machine that slows the work down several times
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    use_utf8()
    # objects made by imports live on: collecting garbage among them is a tenth of a short command
    gc.set_threshold(50_000)
    try:
        app(args=trust_first(sys.argv[1:]))
    except HarnessError as error:
        sys.exit(report_error(error))
    except ModuleNotFoundError as error:
        if (missing := missing_extra(error)) is None:
            raise
        sys.exit(report_error(missing))
    except KeyboardInterrupt:
        say_how_to_go_on()
        sys.exit(STOPPED)
    except SystemExit as end:
        if end.code == STOPPED:  # typer has caught the interrupt
            say_how_to_go_on()
        raise


def say_how_to_go_on() -> None:
    """Print the command that continues what was stopped, if it does."""
    if set(CONTINUING) & {*sys.argv[1:]}:
        command = printable(shlex.join(["harness", *sys.argv[1:]]))
        notify(f"what is finished is kept; the same command goes on: {command}")


def trust_first(arguments: Sequence[str]) -> list[str]:
    """Return the arguments with every `--trust DIR` before the command, where it belongs."""
    first: list[str] = []
    rest: list[str] = []
    remaining = iter(arguments)
    for argument in remaining:
        if argument == TRUST_OPTION:
            first += [argument, *[folder for folder in (next(remaining, None),) if folder]]
        elif argument.startswith(f"{TRUST_OPTION}="):
            first.append(argument)
        else:
            rest.append(argument)
    return [*first, *rest]


def print_traceback(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Print the traceback of a fault of the harness, without what could steer a terminal."""
    sys.stderr.write(printable_lines("".join(traceback.format_exception(kind, error, trace))))


def print_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Print a warning of a library, without what could steer a terminal."""
    text = warnings.formatwarning(message, category, filename, lineno, line)
    (file or sys.stderr).write(printable_lines(text))


class _PrintableFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return printable_lines(super().format(record))


def make_logs_printable() -> None:
    """Print what libraries log, where no handler writes it, without escape sequences."""
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(_PrintableFormatter())


def use_utf8() -> None:
    """Print the same bytes under any locale; replace what a terminal cannot show."""
    for stream in (sys.stdout, sys.stderr):
        if not isinstance(stream, io.TextIOWrapper):
            continue
        if stream.isatty():
            stream.reconfigure(errors="replace")
        else:
            stream.reconfigure(encoding="utf-8")

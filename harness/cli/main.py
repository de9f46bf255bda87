"""The `harness` command: one command a file; an error is one line and a documented exit code."""

import gc
import io
import os
import sys

import typer

from harness.cli import (
    assets,
    config,
    demo,
    exchange,
    judge,
    leaderboard,
    ls,
    report,
    score,
    theory,
    train,
    verdicts,
    verify,
)
from harness.cli import eval as evaluate
from harness.cli.display import report_error
from harness.core.extras import missing_extra
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
app.command("score", epilog=score.EXAMPLE)(score.command)
app.command("verify", epilog=verify.EXAMPLE)(verify.command)
app.command("import", epilog=exchange.IMPORT)(exchange.import_results)
app.command("export", epilog=exchange.EXPORT)(exchange.export_results)
app.command("leaderboard", epilog=leaderboard.EXAMPLE)(leaderboard.command)
app.command("report", epilog=report.EXAMPLE)(report.command)
app.command("ls", epilog=ls.EXAMPLE)(ls.command)
app.add_typer(assets.app, name="assets", epilog=assets.EXAMPLE)
app.add_typer(theory.app, name="theory", epilog=theory.EXAMPLE)
app.add_typer(config.app, name="config", epilog=config.EXAMPLE)
app.add_typer(judge.app, name="judge", epilog=judge.EXAMPLE)
app.add_typer(verdicts.app, name="verdicts", epilog=verdicts.EXAMPLE)


def main() -> None:
    """Run the command line."""
    # torch's idle threads spin; on a busy machine that slows the work down several times
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    use_utf8()
    # objects made by imports live on: collecting garbage among them is a tenth of a short command
    gc.set_threshold(50_000)
    try:
        app()
    except HarnessError as error:
        sys.exit(report_error(error))
    except ModuleNotFoundError as error:
        if (missing := missing_extra(error)) is None:
            raise
        sys.exit(report_error(missing))
    except KeyboardInterrupt:
        sys.exit(130)


def use_utf8() -> None:
    """Print the same bytes under any locale; replace what a terminal cannot show."""
    for stream in (sys.stdout, sys.stderr):
        if not isinstance(stream, io.TextIOWrapper):
            continue
        if stream.isatty():
            stream.reconfigure(errors="replace")
        else:
            stream.reconfigure(encoding="utf-8")

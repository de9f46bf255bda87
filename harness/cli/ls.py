"""`harness ls [KIND]`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from harness.cli.display import open_workspace, print_json
from harness.cli.options import RUNS, JsonOption, WorkspaceOption
from harness.cli.printing import print_line, print_text

EXAMPLE = "Example: harness ls train"
CONFIGS = (
    *("assets", "bench", "dynamics", "engine", "game", "gpu"),
    *("judge", "launcher", "oracle", "policy", "prices", "theory", "train"),
)
"""The kinds of configuration that ship; written out, so that the help need not read them."""
PUBLISHED, RUNS_KIND = "published", "runs"


def _complete(incomplete: str) -> list[str]:
    return [name for name in (*CONFIGS, PUBLISHED, RUNS_KIND) if name.startswith(incomplete)]


def command(
    kind: Annotated[
        str | None,
        typer.Argument(
            help=f"{', '.join(CONFIGS)}, {PUBLISHED} or {RUNS_KIND}; default: all.",
            autocompletion=_complete,
        ),
    ] = None,
    root: WorkspaceOption = RUNS,
    as_json: JsonOption = False,
) -> None:
    """List the names for the command line: configurations, papers' figures and runs.

    `published` lists the documents for `harness leaderboard --published` and `--paper`; `runs`
    lists the runs of the workspace.
    """
    from harness.core import config
    from harness.core.workspace import run_names
    from harness.errors import ConfigError
    from leaderboard.publications import document_names

    lists = {name: config.names(name) for name in config.kinds()}
    lists |= {PUBLISHED: document_names(), RUNS_KIND: run_names(open_workspace(root))}
    if kind is not None and kind not in lists:
        raise ConfigError(f"no kind called {kind!r}{config.suggest(kind, lists)}")
    selection = {kind: lists[kind]} if kind else lists
    if as_json:
        print_json(selection)
        return
    for title, names in selection.items():
        print_line(f"{title}:")
        notes = _judge_notes(names) if title == "judge" else {}
        print_text("".join(f"  {name}{notes.get(name, '')}\n" for name in names) or "  none\n")


def _judge_notes(names: Sequence[str]) -> dict[str, str]:
    """Return a note on each judge that says when it retires, or what it takes to serve it."""
    from harness.core import config
    from harness.judges.model_check import today

    notes = {}
    for name in names:
        judge = config.load("judge", name)
        if (day := judge.get("retires")) is not None:
            notes[name] = f"  ({'retired' if str(day) <= str(today()) else 'retires'} {day})"
        elif judge.get("size"):
            commit = judge.get("revision") or "no commit named"
            notes[name] = f"  ({judge['size']}; GPUs: {judge['gpus']}; {commit})"
    return notes

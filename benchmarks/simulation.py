"""The command line of a script that simulates: how often, what it prints, and where it writes."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

Row = dict[str, str | float]
Rows = list[Row]


def run(
    description: str | None,
    simulate: Callable[[int], Rows | Mapping[str, Rows]],
    arguments: Sequence[str] | None,
) -> None:
    """Simulate, print the rows of one or several tables, and write them if a file is named."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--simulations", type=int, default=1000)
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args(arguments)
    tables = simulate(options.simulations)
    for rows in tables.values() if isinstance(tables, Mapping) else (tables,):
        for figures in rows:
            print(*(v if isinstance(v, str) else f"{v:.4g}" for v in figures.values()), sep="  ")
    if options.json:
        options.json.write_text(json.dumps(tables, indent=1) + "\n")

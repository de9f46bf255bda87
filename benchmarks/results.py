"""Writes the figures of a script into RESULTS.md, with the machine that they were measured on.

    python benchmarks/scoring.py --json FILE
    python benchmarks/results.py scoring FILE --beside "other work"

The date is the file's; CPU and versions are those of the current machine.
"""

import argparse
import json
import os
import re
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from harness.core.hardware import CPU, device_name

PAGE = Path(__file__).with_name("RESULTS.md")
BLOCK = re.compile(r"(<!-- measured: (\S+) -->\n\n)(.*?)(\n<!-- end -->)", re.DOTALL)
PACKAGES = ("torch", "transformers", "trl", "numpy", "scikit-learn", "alpaca_eval", "torchao")


def conditions(file, beside):
    """Return a paragraph on when and where a file's figures were measured."""
    day = datetime.fromtimestamp(file.stat().st_mtime, UTC).date()
    cores = len(os.sched_getaffinity(0))
    python = ".".join(map(str, sys.version_info[:3]))
    versions = ", ".join([f"Python {python}", *filter(None, map(package_version, PACKAGES))])
    return f"{day} · {hardware()} · {cores} cores, {beside} beside it · {versions}.\n"


def hardware():
    """Return the CPU's model, and the GPU's if there is one."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line for line in lines if line.startswith("model name")), "unknown CPU")
    figures = [" ".join(model.rpartition(":")[2].split()), device_name()]
    return " · ".join(name for name in figures if name != CPU)


def package_version(package):
    """Return a package with its version; None if it is not installed."""
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return None


def tables(figures):
    """Return a script's figures as tables: lists of rows, each a mapping of columns to cells."""
    if isinstance(figures, list):
        return [figures]
    if any(isinstance(inner, list) for inner in figures.values()):
        return [table for inner in figures.values() for table in tables(inner)]
    if all(isinstance(inner, dict) for inner in figures.values()):
        return [[{"what": name, **cells} for name, cells in figures.items()]]
    return [[{"what": name, "figure": value} for name, value in flat(figures)]]


def flat(figures):
    """Yield (name, figure), with nested figures under both names."""
    for name, value in figures.items():
        if isinstance(value, dict):
            yield from ((f"{name}: {inner}", figure) for inner, figure in value.items())
        else:
            yield name, value


def markdown(rows):
    """Return a table in Markdown; columns of numbers are right-aligned."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = [name for name in columns if any(isinstance(row.get(name), str) for row in rows)]
    rule = ["---" if name in text else "---:" for name in columns]
    lines = [[cell(row.get(name)) for name in columns] for row in rows]
    head = [name.replace("_", " ") for name in columns]
    return "".join("| " + " | ".join(line) + " |\n" for line in (head, rule, *lines))


def cell(value):
    """Return a figure to three significant digits, or a text."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value.replace("_", " ")
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def replace_section(page, section, text):
    """Return a page with a section's block replaced."""
    known = [name for _, name, _, _ in BLOCK.findall(page)]
    if section not in known:
        sys.exit(f"{PAGE.name} has no section {section}: {', '.join(known)}")
    return BLOCK.sub(lambda m: m[1] + text + m[4] if m[2] == section else m[0], page)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("section")
    parser.add_argument("file", type=Path, help="written by the script's --json")
    parser.add_argument("--beside", required=True, help="other load on the machine")
    parser.add_argument("--page", type=Path, default=PAGE)
    options = parser.parse_args(arguments)
    rendered = tables(json.loads(options.file.read_text()))
    text = "\n".join([conditions(options.file, options.beside), *map(markdown, rendered)])
    page = replace_section(options.page.read_text("utf-8"), options.section, text)
    options.page.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()

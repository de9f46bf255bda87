"""Write what a script has measured into RESULTS.md, with the machine that it was measured on.

    python benchmarks/scoring.py --json FILE
    python benchmarks/results.py scoring FILE --beside "other work"

The date is the file's; processor and versions are those of the machine that this runs on.
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
    """Return when and where a file's figures were measured, in a paragraph."""
    day = datetime.fromtimestamp(file.stat().st_mtime, UTC).date()
    cores = len(os.sched_getaffinity(0))
    python = ".".join(map(str, sys.version_info[:3]))
    versions = ", ".join([f"Python {python}", *filter(None, map(named, PACKAGES))])
    return f"{day} · {processor()} · {cores} cores, {beside} beside it · {versions}.\n"


def processor():
    """Return the processor's model, and the GPU's where there is one."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line for line in lines if line.startswith("model name")), "unknown processor")
    told = [" ".join(model.rpartition(":")[2].split()), device_name()]
    return " · ".join(name for name in told if name != CPU)


def named(package):
    """Return a package with its version; None where it is not installed."""
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return None


def tables(told):
    """Return a script's figures as tables: lists of rows, each row its cells by column."""
    if isinstance(told, list):
        return [told]
    if any(isinstance(inner, list) for inner in told.values()):
        return [table for inner in told.values() for table in tables(inner)]
    if all(isinstance(inner, dict) for inner in told.values()):
        return [[{"what": name, **cells} for name, cells in told.items()]]
    return [[{"what": name, "figure": value} for name, value in flat(told)]]


def flat(told):
    """Yield figures by name, those of an inner record by both names."""
    for name, value in told.items():
        if isinstance(value, dict):
            yield from ((f"{name}: {inner}", figure) for inner, figure in value.items())
        else:
            yield name, value


def markdown(rows):
    """Return a table in Markdown; columns of numbers stand at the right."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = [name for name in columns if any(isinstance(row.get(name), str) for row in rows)]
    rule = ["---" if name in text else "---:" for name in columns]
    lines = [[cell(row.get(name)) for name in columns] for row in rows]
    head = [name.replace("_", " ") for name in columns]
    return "".join("| " + " | ".join(line) + " |\n" for line in (head, rule, *lines))


def cell(value):
    """Return a figure to three digits, or a text as it is."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value.replace("_", " ")
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def written(page, section, text):
    """Return a page with a section's block replaced."""
    known = [name for _, name, _, _ in BLOCK.findall(page)]
    if section not in known:
        sys.exit(f"{section} is no section of {PAGE.name}: {', '.join(known)}")
    return BLOCK.sub(lambda m: m[1] + text + m[4] if m[2] == section else m[0], page)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("section")
    parser.add_argument("file", type=Path, help="what the script wrote by --json")
    parser.add_argument("--beside", required=True, help="what else the machine did meanwhile")
    parser.add_argument("--page", type=Path, default=PAGE)
    given = parser.parse_args(arguments)
    found = tables(json.loads(given.file.read_text()))
    text = "\n".join([conditions(given.file, given.beside), *map(markdown, found)])
    page = written(given.page.read_text("utf-8"), given.section, text)
    given.page.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()

"""How long the command line takes to start, as a ratio to a bare interpreter and to TRL's.

    python benchmarks/startup.py [--runs 9] [--json FILE]

Every command is timed as a whole process, in turn, in one run; the median of each is compared.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

BIN = Path(sys.executable).parent
COMMANDS = {
    "python -c pass": (sys.executable, "-c", "pass"),
    "harness --help": (str(BIN / "harness"), "--help"),
    "trl --help": (str(BIN / "trl"), "--help"),
}


def seconds(command):
    begun = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    return time.perf_counter() - begun


def measured(commands, runs):
    """Return each command's median, and how many times as long ours takes."""
    times = {name: [] for name in commands}
    for _ in range(runs):
        for name, command in commands.items():
            times[name].append(seconds(command))
    medians = {name: statistics.median(found) for name, found in times.items()}
    ours = medians["harness --help"]
    return {name: {"seconds": s, "ours_to_it": ours / s} for name, s in medians.items()}


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--json", type=Path, help="write the figures here")
    given = parser.parse_args(arguments)
    there = {name: c for name, c in COMMANDS.items() if shutil.which(c[0])}
    told = measured(there, given.runs)
    for name, one in told.items():
        print(f"{name:16} {one['seconds']:.3f} s   ", end="")
        print(f"harness --help takes {one['ours_to_it']:.2f} times as long")
    if given.json:
        given.json.write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()

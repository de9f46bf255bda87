"""Start-up time of the command line, relative to a bare interpreter and to TRL's.

    python benchmarks/startup.py [--runs 9] [--json FILE]

Commands are timed as whole processes, in turn, in one run; their medians are compared.
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
    start = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def measured(commands, runs):
    """Return each command's median time, and the ratio of ours to it."""
    times = {name: [] for name in commands}
    for _ in range(runs):
        for name, command in commands.items():
            times[name].append(seconds(command))
    medians = {name: statistics.median(samples) for name, samples in times.items()}
    ours = medians["harness --help"]
    return {name: {"seconds": s, "ours_to_it": ours / s} for name, s in medians.items()}


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args(arguments)
    available = {name: c for name, c in COMMANDS.items() if shutil.which(c[0])}
    timings = measured(available, options.runs)
    for name, figures in timings.items():
        print(f"{name:16} {figures['seconds']:.3f} s   ", end="")
        print(f"harness --help takes {figures['ours_to_it']:.2f} times as long")
    if options.json:
        options.json.write_text(json.dumps(timings, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""How long the command line takes to start, as a ratio to a bare interpreter and to TRL's.

    python benchmarks/startup.py [--runs 9]

Every command is timed as a whole process, in turn, in one run; the median of each is compared.
"""

import argparse
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


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=9)
    runs = parser.parse_args().runs
    there = {name: c for name, c in COMMANDS.items() if shutil.which(c[0])}
    times = {name: [] for name in there}
    for _ in range(runs):
        for name, command in there.items():
            times[name].append(seconds(command))
    medians = {name: statistics.median(found) for name, found in times.items()}
    ours = medians["harness --help"]
    for name, median in medians.items():
        print(f"{name:16} {median:.3f} s   harness --help takes {ours / median:.2f} times as long")


if __name__ == "__main__":
    main()

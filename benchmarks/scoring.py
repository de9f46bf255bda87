"""Speed of scoring verdicts, relative to the upstream packages in one run.

    HARNESS_ASSETS=DIR python benchmarks/scoring.py [--runs 5] [--refits 1000] [--json FILE]

The peers are alpaca-eval 0.6.6's `get_length_controlled_winrate` (its download of df_gamed.csv
replaced by the file in the assets, without saving weights) and, for Arena-Hard, one scikit-learn
Bradley-Terry fit per resample, as in arena-hard-auto. Times are medians of alternating runs. From
the shell the peer is alpaca-eval's command on the same annotations, all of them in its cache; and,
as a lower bound, a process that only imports its metrics and calls that one function.
"""

import argparse
import contextlib
import gzip
import io
import json
import logging
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np

from harness.benchmarks.alpaca_eval import benchmark, length_control
from harness.benchmarks.arena_hard import battles, judgments
from harness.benchmarks.arena_hard.verdicts import parse_games
from harness.core.config import build, load

ASSETS = Path(os.environ.get("HARNESS_ASSETS", "../shared/assets"))
MODEL = ASSETS / "alpaca_eval/annotations/claude-2.1.json.gz"
BASELINE = ASSETS / "alpaca_eval/alpaca_eval_gpt4_baseline.json"
GAMED = ASSETS / "alpaca_eval/df_gamed.csv"
BATTLES = ASSETS / "arena_hard_v0.1/battles/dw_0815.jsonl.gz"
PEER = """
import sys, warnings
warnings.simplefilter("ignore")
from alpaca_eval import main
from alpaca_eval.metrics import glm_winrate
glm_winrate.hf_hub_download = lambda **_: sys.argv[2]
main.evaluate(
    model_outputs=sys.argv[1] + "/outputs.json",
    reference_outputs=sys.argv[3],
    annotators_config="weighted_alpaca_eval_gpt4_turbo",
    caching_path=sys.argv[1] + "/cache.json",
    output_path=sys.argv[1] + "/out",
    precomputed_leaderboard=None,
    is_cache_leaderboard=False,
    metric_kwargs={"save_weights_dir": None},
    name="peer",
)
"""
METRICS = """
import gzip, json, sys, warnings
warnings.simplefilter("ignore")
from alpaca_eval.metrics import glm_winrate
glm_winrate.hf_hub_download = lambda **_: sys.argv[2]
rows = json.load(gzip.open(sys.argv[4], "rt"))
print(glm_winrate.get_length_controlled_winrate(rows, save_weights_dir=None))
"""
ANNOTATOR = "weighted_alpaca_eval_gpt4_turbo"


def seconds(call):
    """Return the duration of a call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def paired(ours, theirs, runs):
    """Return the median times of two alternating calls."""
    times = [(seconds(ours), seconds(theirs)) for _ in range(runs)]
    return tuple(statistics.median(column) for column in zip(*times, strict=True))


def time_length_control(runs):
    """Return (our, their) seconds for one model's length-controlled win rate, C chosen."""
    from alpaca_eval.metrics import glm_winrate

    glm_winrate.hf_hub_download = lambda **_: str(GAMED)
    with gzip.open(MODEL, "rt") as file:
        rows = json.load(file)
    scoring = length_control.AlpacaEvalScoring(rounds=0, compat="upstream")
    bench = build({**load("bench", "alpaca-eval"), "assets": str(ASSETS)})
    (graded,) = bench.read_verdicts(MODEL)
    items = benchmark._items(graded)

    def ours():
        length_control.read_gamed.cache_clear()  # the peer reads df_gamed.csv, too
        length_control.estimates(items, range(len(items)), ASSETS, scoring=scoring)

    def theirs():
        with contextlib.redirect_stdout(io.StringIO()):
            glm_winrate.get_length_controlled_winrate(rows, save_weights_dir=None)

    ours()
    return paired(ours, theirs, runs)


def interval(refits):
    """Return the seconds that the refits of an interval take."""
    scoring = length_control.AlpacaEvalScoring(C=2.782559402207126, rounds=refits)
    bench = build({**load("bench", "alpaca-eval"), "assets": str(ASSETS)})
    (graded,) = bench.read_verdicts(MODEL)
    with_interval = bench.model_copy(update={"scoring": scoring})
    without_interval = bench.model_copy(
        update={"scoring": scoring.model_copy(update={"rounds": 0})}
    )
    calls = (lambda: with_interval.score([graded])), (lambda: without_interval.score([graded]))
    return float(np.subtract(*paired(*calls, 3)))


def bradley_terry(pooled, baseline=1):
    """Fit ratings by logistic regression, as arena-hard-auto: a tie is half a win, half a loss."""
    from sklearn.linear_model import LogisticRegression

    x = np.zeros((len(pooled.points), pooled.model_count + baseline))
    x[np.arange(len(x)), pooled.model], x[:, -1] = math.log(10), -math.log(10)
    labels = np.r_[pooled.points > 0, pooled.points == 1].astype(int)
    model = LogisticRegression(fit_intercept=False, C=np.inf, tol=1e-8)
    return model.fit(np.vstack([x, x]), labels).coef_[0]


def arena_hard(runs, rounds=2):
    """Return (our, their) seconds for scores and 100 rounds; theirs is extrapolated from few."""
    graded = [
        contestant.graded
        for contestant in judgments.read_verdicts(BATTLES, lambda *_: battles.ANCHORED_BASELINE)
    ]
    pooled = battles.pool_battles(
        [[(g.won, g.weight) for g in parse_games(o.verdicts)] for o in graded]
    )
    drawn = np.random.RandomState(42)

    def ours():
        battles.win_rates(pooled)
        battles.upstream_bounds(pooled, "gpt-4-0314")

    def theirs():
        for _ in range(rounds):
            at = drawn.choice(len(pooled.points), len(pooled.points))
            bradley_terry(battles.Battles(pooled.model[at], pooled.points[at], pooled.model_count))

    own, other = paired(ours, theirs, runs)
    return own, other * battles.ROUNDS / rounds


def peer_folder(folder):
    """Write stored annotations in the layout of alpaca-eval's command."""
    with gzip.open(MODEL, "rt") as file:
        rows = json.load(file)
    outputs = [
        {"instruction": row["instruction"], "output": row["output_2"], "generator": "peer"}
        for row in rows
    ]
    cached_rows = [{**row, "annotator": ANNOTATOR, "generator_2": "peer"} for row in rows]
    (folder / "outputs.json").write_text(json.dumps(outputs))
    (folder / "cache.json").write_text(json.dumps(cached_rows))


def shell(runs, code):
    """Return (our, their) seconds for 805 verdicts from the shell; ours with the interval."""
    with tempfile.TemporaryDirectory() as folder:
        peer_folder(Path(folder))
        return shells(runs, folder, code)


def shells(runs, folder, code):
    """Time both commands in turn."""
    ours = [sys.executable, "-m", "harness", "score", "alpaca-eval", str(MODEL)]
    ours += ["--assets", str(ASSETS)]
    theirs = [
        sys.executable,
        "-W",
        "ignore",
        "-c",
        code,
        folder,
        str(GAMED),
        str(BASELINE),
        str(MODEL),
    ]
    os.environ.setdefault("OPENAI_API_KEY", "none")  # the command needs a key, but sends no request
    return paired(lambda: run_silently(ours), lambda: run_silently(theirs), runs)


def run_silently(command):
    """Run a command without its output."""
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)


def measured(options):
    """Return our and their seconds by task; the refits have no peer."""
    pairs = {
        "length-controlled win rate of one model": time_length_control(options.runs),
        "Arena-Hard scores and 100-round bounds, 8 models": arena_hard(options.runs),
        "805 verdicts from the shell": shell(options.runs, PEER),
        "the same against its metrics alone": shell(options.runs, METRICS),
    }
    timings = {name: {"ours": a, "theirs": b, "times": b / a} for name, (a, b) in pairs.items()}
    return timings | {f"{options.refits:,} refits of the GLM": {"ours": interval(options.refits)}}


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--refits", type=int, default=1000, help="of the interval")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    timings = measured(options)
    for name, row in timings.items():
        print(f"{name:50} {row['ours']:8.3f} s", end="")
        if "theirs" in row:
            print(f"  upstream {row['theirs']:8.3f} s  {row['times']:8.1f} times", end="")
        print()
    if options.json:
        options.json.write_text(json.dumps(timings, indent=1) + "\n")


if __name__ == "__main__":
    main()

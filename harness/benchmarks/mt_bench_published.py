"""Published MT-Bench scores beside those that the harness makes of the same verdicts.

They stand with two decimals in the README of jxiw/MambaInLlama (arXiv 2408.15237), whose verdicts
were published too. Only its bare figures can be checked: no interval was given.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from harness.benchmarks.mt_bench_data import FOLDER
from harness.errors import AssetError
from harness.types import Figure

if TYPE_CHECKING:
    from harness.benchmarks.mt_bench import MTBench

VERDICTS = f"{FOLDER}/model_judgment"
SCORES = {"mamba_0_5_dpo_ep1": 7.12, "mamba_0_875_dpo_ep3": 6.37}
TOLERANCE = 0.005
ROUNDED = "published with two decimals"


def published(benchmark: MTBench, folder: Path) -> Iterator[Figure]:
    """Yield the published scores of the models whose verdicts are there.

    Raises:
        AssetError: there are no verdicts.
    """
    paths = sorted((folder / VERDICTS).glob("*_single.jsonl*"))
    if not paths:
        told = f"no published verdicts in {folder / VERDICTS}"
        raise AssetError(f"{told}: name a folder that has them with --assets DIR")
    scoring = benchmark.scoring.model_copy(update={"compat": "upstream", "rounds": 2})
    upstream = benchmark.model_copy(update={"scoring": scoring})
    for path in paths:
        graded = benchmark.read_verdicts(path)
        for one, score in zip(graded, upstream.score(graded), strict=True):
            if one.label in SCORES:
                value = score.estimates["score"].value
                yield Figure(f"{one.label} score", SCORES[one.label], value, TOLERANCE, ROUNDED)

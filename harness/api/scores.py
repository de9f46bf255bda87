"""Figures from verdicts that exist already: `harness.score`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.api import frames
from harness.api.components import Overrides, Source, build_judged_benchmark
from harness.errors import InputError
from harness.types import Estimate, Graded, Score

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class ScoredAnswers(Mapping[str, Estimate]):
    """What a benchmark computes from one contestant's verdicts: estimates by metric."""

    benchmark: str
    graded: Graded
    score: Score
    missing: int
    """Prompts of the benchmark without a verdict in the file."""

    @property
    def label(self) -> str:
        """The contestant's name."""
        return self.graded.label

    @property
    def judge(self) -> str:
        """The judge's name, as the file gives it."""
        return self.graded.judge

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the figures must know."""
        return self.score.notes

    def __getitem__(self, metric: str) -> Estimate:
        return self.score.estimates[metric]

    def __iter__(self) -> Iterator[str]:
        return iter(self.score.estimates)

    def __len__(self) -> int:
        return len(self.score.estimates)

    def to_frame(self) -> pd.DataFrame:
        """Return one row a prompt."""
        return frames.to_frame(self.score.items)

    def estimates_frame(self) -> pd.DataFrame:
        """Return one row a metric: value, low, high, standard_error."""
        return frames.estimates_frame(self.score.estimates)

    def _repr_html_(self) -> str:
        title = f"{self.label} on {self.benchmark}, judged by {self.judge}"
        return frames.estimates_html(title, self.score.estimates, self.notes)


def score(
    bench: Source,
    path: str | Path,
    *,
    label: str | None = None,
    overrides: Overrides = (),
    compat: str | None = None,
    assets: str | Path | None = None,
) -> ScoredAnswers:
    """Score the verdicts of one contestant in a file of alpaca_eval, arena-hard-auto or FastChat.

    Args:
        bench: a benchmark: a name of configs/bench, a YAML file, a mapping, or one that is built.
        path: annotations, judgments or battles, in one of the protocol's own formats.
        label: the contestant, where the file holds several.
        overrides: of the benchmark, e.g. `{"score.C": 0.36}`.
        compat: `upstream` computes figures as the published code does.
        assets: the folder with the protocol data; the default is `HARNESS_ASSETS`.

    Raises:
        InputError: the file does not fit, or holds several contestants and no label is given.
        CheckError: no verdict of the contestant can be parsed.
        AssetError: protocol data is missing.
    """
    submissions = scores(bench, path, overrides=overrides, compat=compat, assets=assets)
    matches = [scored for scored in submissions if label in (None, scored.label)]
    if len(matches) == 1:
        return matches[0]
    labels = ", ".join(scored.label for scored in submissions[:8])
    if not matches:
        raise InputError(f"{path} has no contestant called {label!r}; it has {labels}")
    raise InputError(
        f"{path} holds {len(submissions)} contestants ({labels}): name one with label=..., "
        "or take all with harness.scores"
    )


def scores(
    bench: Source,
    path: str | Path,
    *,
    overrides: Overrides = (),
    compat: str | None = None,
    assets: str | Path | None = None,
) -> list[ScoredAnswers]:
    """Score every contestant of a file; see `score`."""
    from harness.evaluation.verdict_files import score_file

    benchmark: Any = build_judged_benchmark(bench, overrides, assets, compat)
    return [
        ScoredAnswers(benchmark.name, scored.graded, scored.score, scored.missing)
        for scored in score_file(benchmark, Path(path))
    ]

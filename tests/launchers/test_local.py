"""Pieces of work in this process: none twice, none half done, and the same result in any size."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path

import pytest

from harness import config
from harness.launchers.local import LocalLauncher
from harness.runs import Workspace
from harness.training import run
from harness.training.spec import TrainSpec
from harness.work import Work
from tests.conftest import tiny

SMALL = ("prompts.count=7", "samples=4", "iterations=1", "optimiser.epochs=1", "optimiser.batch=4")


@contextmanager
def squares(told):
    def do(piece: int, out: Path, advance) -> None:
        if piece == told.get("fails"):
            (out / "half").write_text("half of it")
            raise OSError("the machine went away")
        (out / "square").write_text(str(piece**2))
        with open(told["log"], "a") as log:
            log.write(f"{piece}\n")
        advance(1)

    yield do


def of(place: Path, **told) -> Work:
    return Work(squares, {"log": str(place / "log"), **told}, (1,) * 4, place / "work")


def test_a_piece_that_failed_leaves_nothing_and_alone_is_missing(tmp_path):
    with pytest.raises(OSError, match="went away"):
        LocalLauncher().spread(of(tmp_path, fails=2), lambda _: None)
    assert of(tmp_path).missing() == [2, 3]
    assert [path.name for path in (tmp_path / "work").iterdir() if "part-" not in path.name] == []
    done: list[int] = []
    LocalLauncher().spread(of(tmp_path), done.append)
    assert sum(done) == 4  # two stood, two were done
    assert (tmp_path / "log").read_text().split() == ["0", "1", "2", "3"]  # none twice
    told = [(part / "square").read_text() for part in of(tmp_path).parts()]
    assert told == ["0", "1", "4", "9"]


def test_a_run_in_small_pieces_ends_in_the_same_weights(tmp_path):
    made = []
    for piece in (512, 3):  # 7 prompts: one piece, or three
        data = config.load("train", "toy/inpo", (*SMALL, f"launcher.piece={piece}"))
        spec = config.make(TrainSpec, {**data, "policy": tiny()})
        found = run.train(spec, Workspace(tmp_path / str(piece)), "inpo")
        made.append(Path(found.policies[-1]).name)
    assert made[0] == made[1]  # stages are named by the content of what went in

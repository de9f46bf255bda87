"""An anchor in shards gives the same values by several workers, and if the stage is resumed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from random import Random

import pytest

from harness.core import config
from harness.core.stages import scratch_directory
from harness.errors import CheckError
from harness.launchers.local import LocalLauncher
from harness.training import records, reference_logps
from harness.training.sources import Pretrained
from harness.training.spec import TrainSpec
from harness.types import Pair, Policy

PIECE = 100


def spec(policy: str) -> TrainSpec:
    data = config.load("train", "toy/inpo", (f"launcher.shard_size={PIECE}",))
    return config.construct(TrainSpec, {**data, "policy": Pretrained(name="tiny", path=policy)})


def made_up(count: int) -> list[Pair]:
    """`count` pairs of 45 to 60 tokens."""
    draw = Random(0)

    def tokens(count: int) -> tuple[int, ...]:
        return tuple(draw.randrange(5, 25) for _ in range(count))

    lengths = [(20, 20, draw.randint(5, 20)) for _ in range(count)]
    return [Pair(f"p{i}", *map(tokens, sizes), 0.9) for i, sizes in enumerate(lengths)]


@pytest.fixture(scope="module")
def pairs() -> list[Pair]:
    return made_up(700)


@pytest.fixture
def inputs(pairs, tiny_policy, tmp_path) -> dict[str, str]:
    folder = tmp_path / "pair"
    folder.mkdir()
    records.write_pairs(folder, pairs)
    return {"pair": str(folder), "policy": tiny_policy}


@pytest.fixture(scope="module")
def alone(pairs, tiny_policy, tmp_path_factory) -> bytes:
    """The file that one process writes, all packs at once."""
    policy = Policy("tiny", tiny_policy)
    logps = reference_logps.frozen_logps(policy, pairs, "float32", lambda _: None)
    folder = tmp_path_factory.mktemp("alone")
    records.write_logps(folder, logps[0::2], logps[1::2])
    return (folder / records.LOGPS).read_bytes()


def test_a_piece_is_consecutive_packs_and_one_at_least():
    packs = [[4, 0, 2], [3], [1, 5], [6]]
    assert reference_logps.group_packs(packs, 3) == [[[4, 0, 2]], [[3], [1, 5]], [[6]]]
    assert reference_logps.group_packs(packs, 1) == [[pack] for pack in packs]
    assert reference_logps.group_packs(packs, 99) == [packs]
    assert reference_logps.group_packs([], 3) == []


def test_two_workers_score_what_one_process_does(pairs, inputs, alone, tmp_path):
    method = spec(inputs["policy"])
    work = reference_logps.anchor_job(method, pairs, tmp_path / "work", inputs)
    assert (
        len(work.sizes) == len(reference_logps.pair_packs(pairs)) > 3
    )  # of more than 100 pairs each
    assert sum(work.sizes) == 700
    counts: list[int] = []
    LocalLauncher(workers=2).map_shards(work, counts.append)
    assert len(list(tmp_path.rglob("worker-*.log"))) == 2
    assert sum(counts) == 700  # pairs
    records.join_logps_shards(work.shard_paths(), tmp_path)
    assert (tmp_path / records.LOGPS).read_bytes() == alone


def test_a_stage_that_was_stopped_goes_on_from_its_finished_pieces(pairs, inputs, alone, tmp_path):
    out = tmp_path / "anchor"
    out.mkdir()
    method = spec(inputs["policy"])
    first = len(reference_logps.pair_packs(pairs)[0])

    def stop(count: int) -> None:
        counts.append(count)
        if sum(counts) > first:  # in the second shard
            raise InterruptedError

    counts: list[int] = []
    with pytest.raises(InterruptedError):
        reference_logps.anchor(method, "anchor", out, inputs, lambda *_: nullcontext(stop))
    (directory,) = scratch_directory(out).iterdir()
    assert [path.name for path in directory.iterdir()] == ["shard-00000"]
    written = (directory / "shard-00000").stat().st_ctime_ns
    totals: list[int] = []

    @contextmanager
    def track(label: str, total: int) -> Iterator:
        totals.append(total)
        yield totals.append

    reference_logps.anchor(method, "anchor", out, inputs, track)
    assert totals[:2] == [700, first]  # finished shards are reported at once
    assert sum(totals[1:]) == 700
    assert (directory / "shard-00000").stat().st_ctime_ns == written
    assert (Path(out) / records.LOGPS).read_bytes() == alone


def pair_of(prompt: int, chosen: int, rejected: int) -> Pair:
    """A pair with these numbers of tokens."""
    return Pair("p", (1,) * prompt, (2,) * chosen, (3,) * rejected, 0.9)


def test_a_pair_longer_than_the_context_is_refused_with_the_remedy():
    reference_logps.check_context([pair_of(4, 5, 6)], 10)  # 4 + 6 fits just so
    with pytest.raises(
        CheckError, match=r"'p' has 11 tokens, the model.s context is 10: .*max_length=10"
    ):
        reference_logps.check_context([pair_of(4, 5, 6), pair_of(4, 7, 1)], 10)
    reference_logps.check_context([pair_of(4, 7, 1)], None)

"""Anchors in pieces: so many packs each, scored by whoever is free.

Which pairs share a pack is decided over all of them, so that the pieces change no value.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.training import anchors, records
from harness.training.spec import TrainSpec
from harness.types import Advance, Pair
from harness.work import Do, Work


def work(spec: TrainSpec, pairs: Sequence[Pair], place: Path, inputs: Mapping[str, str]) -> Work:
    """Return the work on an iteration's pairs, about as many a piece as the launcher wants.

    Args:
        spec: the method.
        pairs: all of them; they lie in `inputs` too.
        place: where what a killed run goes on from lies.
        inputs: folders by what lies in them: `pair`, and `policy`, the frozen one.
    """
    piece = spec.launcher.piece
    parts = pieces(anchors.packs(pairs), piece)
    sizes = tuple(len(items) for items in map(flat, parts))
    longest = (pairs[part[0][0]].prompt_id for part in parts)
    names = tuple(
        f"{size} pairs (the longest: prompt {key!r})"
        for size, key in zip(sizes, longest, strict=True)
    )
    told = {"spec": spec, "inputs": inputs}
    return Work(scoring, told, sizes, place / f"pieces-of-{piece}", names=names)


def pieces(packs: Sequence[list[int]], most: int) -> list[list[list[int]]]:
    """Return consecutive packs together: one, or as many as have so many pairs at most."""
    found: list[list[list[int]]] = []
    for pack in packs:
        if found and len(flat(found[-1])) + len(pack) <= most:
            found[-1].append(pack)
        else:
            found.append([pack])
    return found


def flat(packs: Sequence[list[int]]) -> list[int]:
    """Return the pairs of several packs, by index."""
    return [item for pack in packs for item in pack]


@contextmanager
def scoring(told: Mapping[str, Any]) -> Iterator[Do]:
    """Yield what scores the pairs of a piece, with the frozen policy kept loaded."""
    spec, inputs = told["spec"], told["inputs"]
    pairs = records.read_pairs(inputs["pair"])
    parts = pieces(anchors.packs(pairs), spec.launcher.piece)
    scorer = anchors.frozen(spec.policy.at(inputs["policy"]), pairs, spec.dtype)

    def do(piece: int, out: Path, advance: Advance) -> None:
        logps: dict[int, tuple[float, float]] = {}
        for items, values in anchors.scored(scorer, pairs, parts[piece]):
            logps.update(zip(items, values.tolist(), strict=True))
            advance(len(items))
        records.write_some_logps(out, logps)

    yield do

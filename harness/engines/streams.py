"""Counter-based random numbers: each a function of (seed, index, step), none of its neighbours.

splitmix64 (Steele, Lea & Flood 2014): the stream's state is a mix of seed and index, and step t
reads the mix of state + t·γ. One vectorised hash for all rows: a generator object a row would cost
more than a small model's forward pass.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

GAMMA = np.uint64(0x9E3779B97F4A7C15)
FIRST = np.uint64(0xBF58476D1CE4E5B9)
SECOND = np.uint64(0x94D049BB133111EB)


def uniforms(seeds: Sequence[int], indices: Sequence[int], steps: int) -> npt.NDArray[np.float64]:
    """Return numbers in [0, 1) of shape (rows, steps): row r is the stream (seed r, index r)."""
    seed = np.array([value & 0xFFFFFFFFFFFFFFFF for value in seeds], dtype=np.uint64)
    state = mixed(mixed(seed) + np.array(indices, dtype=np.uint64))
    counter = np.arange(1, steps + 1, dtype=np.uint64) * GAMMA
    bits = mixed(state[:, None] + counter[None, :])
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def mixed(value: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Return splitmix64's finaliser of every number: a bijection of 64 bits."""
    value = (value ^ (value >> np.uint64(30))) * FIRST
    value = (value ^ (value >> np.uint64(27))) * SECOND
    return value ^ (value >> np.uint64(31))

"""Bootstrap resamples that are the same on every machine and under every version of numpy.

Indices come from the raw 64-bit stream of PCG64, which numpy promises to keep, and not from
`Generator.integers`, whose stream may change. The map to 0..n-1 deviates from uniform by less than
n / 2^32.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Indices = NDArray[np.int64]
    Mask = NDArray[np.bool_]
else:  # importing numpy.typing takes as long as a thousand refits
    Floats = Indices = Mask = np.ndarray


def bit_generator(seed: int) -> np.random.PCG64:
    """Return a source of random bits; it advances with every draw."""
    return np.random.PCG64(seed)


def indices(n: int, source: np.random.PCG64, rounds: int) -> Indices:
    """Return `rounds` draws of n out of n with replacement, shape (rounds, n)."""
    # over the full 64-bit range `integers` is the raw stream; `random_raw` gives it too, but slowly
    raw = np.random.Generator(source).integers(0, 1 << 64, size=rounds * n, dtype=np.uint64)
    raw >>= np.uint64(32)
    raw *= np.uint64(n)
    raw >>= np.uint64(32)
    return raw.view(np.int64).reshape(rounds, n)


def resample_weights(n: int, source: np.random.PCG64, rounds: int) -> Floats:
    """Return how often each resample contains each of n items, shape (rounds, n); rows sum to n."""
    draws = indices(n, source, rounds)
    draws += n * np.arange(rounds)[:, None]
    counts = np.bincount(draws.ravel(), minlength=rounds * n)
    return counts.reshape(rounds, n).astype(np.float64)

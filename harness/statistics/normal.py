"""The normal distribution, for a few numbers: `statistics` takes longer to import than to use."""

import math

WIDEST, HALVINGS = 40.0, 100


def below(z: float) -> float:
    """Return P(Z <= z)."""
    return math.erfc(-z / math.sqrt(2)) / 2


def quantile(p: float) -> float:
    """Return the z that a share p lies below, 0 < p < 1, to the last bit or two."""
    low, high = -WIDEST, WIDEST
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if below(middle) < p else (low, middle)
    return (low + high) / 2

"""Seeds derived from names, so that none depends on global state, on order or on sharding."""

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

SIGNIFICANT_DIGITS = 8
"""Of numbers in a configuration: `0.0016666667`, as the recipes write it, is 0.005/3. A smaller
difference is below the rounding of float32, in which losses are computed."""


def canonical_json(value: Any) -> str:
    """Return the one JSON text of plain data: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(value: Any) -> str:
    """Return the sha256 of plain data, in hex."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def canonical(value: Any) -> Any:
    """Return plain data with one spelling of every number.

    A float that is whole becomes an integer; every other is rounded to `SIGNIFICANT_DIGITS`.
    """
    match value:
        case float() if math.isfinite(value):
            rounded = value if value.is_integer() else float(f"{value:.{SIGNIFICANT_DIGITS}g}")
            return int(rounded) if rounded.is_integer() else rounded
        case Mapping():
            return {str(key): canonical(inner) for key, inner in value.items()}
        case list() | tuple():
            return [canonical(inner) for inner in value]
    return value


def config_digest(value: Any) -> str:
    """Return the digest of a configuration, whichever way its numbers are written."""
    return digest(canonical(value))


def derive(*parts: str | int) -> int:
    """Return a seed in [0, 2^31) for a purpose: `derive(run_seed, "generate", prompt_id)`.

    Hashing sets the seeds of neighbours far apart: vLLM gives the samples of a request the seeds
    `seed`, `seed + 1`, ..., which must not coincide with those of another request.
    """
    data = canonical_json(list(parts)).encode()
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big") & 0x7FFFFFFF

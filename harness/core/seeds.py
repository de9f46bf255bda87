"""Seeds derived from names: no global random state, no seed that depends on order or sharding."""

import hashlib
import json
from typing import Any


def canonical_json(value: Any) -> str:
    """Return the one JSON text of plain data: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(value: Any) -> str:
    """Return the sha256 (hex) of plain data."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def derive(*parts: str | int) -> int:
    """Return a seed in [0, 2^31) from what it is for: `derive(run_seed, "generate", prompt_id)`.

    Hashed, so that the seeds of neighbours are far apart: vLLM gives the samples of one request
    the seeds `seed`, `seed + 1`, ..., which must not meet another request's.
    """
    data = canonical_json(list(parts)).encode()
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big") & 0x7FFFFFFF

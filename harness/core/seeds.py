"""Seeds derived from names, so that none depends on global state, on order or on sharding."""

import hashlib
import json
from typing import Any


def canonical_json(value: Any) -> str:
    """Return the one JSON text of plain data: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(value: Any) -> str:
    """Return the sha256 of plain data, in hex."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def derive(*parts: str | int) -> int:
    """Return a seed in [0, 2^31) for a purpose: `derive(run_seed, "generate", prompt_id)`.

    Hashing sets the seeds of neighbours far apart: vLLM gives the samples of a request the seeds
    `seed`, `seed + 1`, ..., which must not coincide with those of another request.
    """
    data = canonical_json(list(parts)).encode()
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big") & 0x7FFFFFFF

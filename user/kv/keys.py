"""Which shard a key belongs to (KV-2). Pure."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from sigmaos_ray.ft.sharding import fnv1a

SHARDS_COUNT: Final = 100
"""Of every store, for ever: which shard a key is in stands in the journals."""


@lru_cache(maxsize=1 << 16)
def shard_of(key: str) -> int:
    """FNV-1a of the key in UTF-8, modulo the number of shards. Remembered for keys of late, as hashing in Python takes
    longer than all else that a server does for a key."""
    return fnv1a(key.encode()) % SHARDS_COUNT

"""Keys, values, and which shard a key belongs to (KV-2). Pure.

Nothing here can be tuned. A server that reads a journal has to come to what the server had that wrote it: the same
shard of each key, the same outcome of each write.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from sigmaos_ray import serr
from sigmaos_ray.ft.sharding import fnv1a

SHARDS_COUNT: Final = 100
KEY_BYTES_MAX: Final = 4096
"""In UTF-8."""
VALUE_BYTES_MAX: Final = 1 << 20
"""So that a value fits into a message of the protocol, and into one part of a shard that moves."""


@lru_cache(maxsize=1 << 16)
def shard_of(key: str) -> int:
    """FNV-1a of the key in UTF-8, modulo the number of shards. Remembered for the latest keys: hashing in Python takes
    longer than all else that a server does for a key. Inval for a key that is no Unicode text."""
    return fnv1a(serr.check_utf8("key", key).encode()) % SHARDS_COUNT

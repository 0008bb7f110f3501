"""Keys, values, and which shard a key belongs to (KV-2). Pure.

Nothing here can be tuned. A server that reads a journal has to come to what the server had that wrote it: the same
shard of each key, the same outcome of each write.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, TypeAlias

from sigmaos_ray import serr
from sigmaos_ray.ft.sharding import fnv1a

SHARDS_COUNT: Final = 100
KEY_BYTES_MAX: Final = 4096
"""In UTF-8."""
VALUE_BYTES_MAX: Final = 1 << 20
"""So that a value fits into a message of the protocol, and into one part of a shard that moves."""


Key: TypeAlias = str | bytes
"""Text, or its UTF-8: one key in either form."""


def text_of(key: Key) -> str:
    """The key as servers have it. Inval for what cannot be one: bytes that are no UTF-8, text that is no Unicode, what
    is neither, nothing at all, and what is too long."""
    try:
        return _text_of(key)
    except TypeError:  # what has no hash, a list say
        raise serr.Inval(f"key {key!r:.80}", "a key is str or bytes") from None


@lru_cache(maxsize=1 << 16)
def _text_of(key: object) -> str:
    if isinstance(key, bytes):
        try:
            key = key.decode()
        except UnicodeDecodeError as error:
            raise serr.Inval(f"key {key!r:.80}", "a key of bytes is UTF-8") from error
    if not isinstance(key, str):
        raise serr.Inval(f"key {key!r:.80}", "a key is str or bytes")
    size = len(serr.check_utf8("key", key).encode())
    if not 1 <= size <= KEY_BYTES_MAX:
        raise serr.Inval(f"key {key[:80]}", f"a key has between 1 and {KEY_BYTES_MAX} bytes, this one {size}")
    return key


@lru_cache(maxsize=1 << 16)
def shard_of(key: str) -> int:
    """FNV-1a of the key in UTF-8, modulo the number of shards. Remembered for the latest keys: hashing in Python takes
    longer than all else that a server does for a key. Inval for a key that is no Unicode text."""
    return fnv1a(serr.check_utf8("key", key).encode()) % SHARDS_COUNT

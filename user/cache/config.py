"""Which server answers for which shard. Pure.

A configuration is a file, and a message to each server. Servers follow the newest one that they heard of, clients the
one that they read last: who asks by an old one hears ELSEWHERE, and reads it again.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

import msgspec

from sigmaos_ray import decoding, serr
from sigmaos_ray.ft.sharding import fnv1a, spread

if TYPE_CHECKING:
    from collections.abc import Sequence

SHARDS_COUNT: Final = 1009
NOBODY: Final = ""
"""The owner of a shard that no server has: all keys of it are misses, and changes wait."""


@lru_cache(maxsize=1 << 16)
def shard_of(key: str) -> int:
    """The shard of a key (CA-4). Remembered for the latest keys: hashing in Python takes as long as a call. Inval for a
    key that is no Unicode text."""
    return fnv1a(serr.check_utf8("key", key).encode()) % SHARDS_COUNT


class CacheConfig(msgspec.Struct, frozen=True):
    """Who has what. A later one has a larger number; the first has 1."""

    number: int
    servers: tuple[str, ...]
    owners: tuple[str, ...]
    """Shard -> server; ``NOBODY`` while the shard is on its way."""

    def to_bytes(self) -> bytes:
        """As ``from_bytes`` takes it."""
        return msgspec.json.encode(self)

    @classmethod
    def from_bytes(cls, data: bytes) -> CacheConfig:
        """A configuration as its file has it. Inval for what is none."""
        try:
            config = _decode(data)
        except msgspec.DecodeError as error:
            raise serr.Inval("config", f"not a cache's: {error}") from error
        if len(config.owners) != SHARDS_COUNT:
            raise serr.Inval("config", f"{len(config.owners)} shards: a cache has {SHARDS_COUNT}")
        return config


_decode: Final = decoding.json_decoder(CacheConfig)


EMPTY: Final = CacheConfig(0, (), (NOBODY,) * SHARDS_COUNT)


def steps(now: CacheConfig, servers: Sequence[str]) -> list[CacheConfig]:
    """The two configurations on the way to those servers. In the first, shards that change their server are nobody's;
    once every server follows it, the second gives them to whom they go. So no two servers ever answer for one shard,
    and none comes back to a value that another one has overwritten."""
    # From the present owners, nobody's shards included: what an earlier change left half-way gets an owner again.
    owners = tuple(spread(now.owners, servers))
    between = tuple(owner if owner == wanted else NOBODY for owner, wanted in zip(now.owners, owners, strict=True))
    # Also those that go: each must have heard that the shards are not its own any more.
    both = tuple(dict.fromkeys([*now.servers, *servers]))
    return [CacheConfig(now.number + 1, both, between), CacheConfig(now.number + 2, tuple(servers), owners)]

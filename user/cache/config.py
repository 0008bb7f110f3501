"""Which server answers for which shard. Pure."""

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


@lru_cache(maxsize=1 << 16)
def shard_of(key: str) -> int:
    """The shard of a key (CA-4)."""
    return fnv1a(key.encode()) % SHARDS_COUNT


class CacheConfig(msgspec.Struct, frozen=True):
    """Numbered from 1; a later one has a larger number."""

    number: int
    servers: tuple[str, ...]
    owners: tuple[str, ...]
    """Shard -> server; ``NOBODY`` while the shard is on its way."""

    def to_bytes(self) -> bytes:
        return msgspec.json.encode(self)

    @classmethod
    def from_bytes(cls, data: bytes) -> CacheConfig:
        """Inval for what is none."""
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
    """The configurations on the way to those servers: in the first, shards that change their server are nobody's. Once
    every server follows it, the second gives them to whom they go. So no two answer for one shard."""
    owners = tuple(spread(now.owners, servers))
    between = tuple(owner if owner == wanted else NOBODY for owner, wanted in zip(now.owners, owners, strict=True))
    both = tuple(dict.fromkeys([*now.servers, *servers]))
    return [CacheConfig(now.number + 1, both, between), CacheConfig(now.number + 2, tuple(servers), owners)]

"""Which server answers for which shard. Pure."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

import msgspec

from sigmaos_ray import decoding, serr
from sigmaos_ray.sigmap import path

if TYPE_CHECKING:
    from collections.abc import Sequence

SHARDS_COUNT: Final = 1009
NOBODY: Final = ""
_FNV_OFFSET: Final = 0x811C9DC5
_FNV_PRIME: Final = 0x01000193


@lru_cache(maxsize=65_536)
def fnv1a(key: str) -> int:
    """FNV-1a of the key, 32 bits."""
    value = _FNV_OFFSET
    for byte in key.encode():
        value = ((value ^ byte) * _FNV_PRIME) & 0xFFFF_FFFF
    return value


def shard_of(key: str) -> int:
    """The shard of a key (CA-4)."""
    return fnv1a(key) % SHARDS_COUNT


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


def spread(owners: Sequence[str], servers: Sequence[str]) -> tuple[str, ...]:
    """The shards over the servers, as evenly as can be, with as few as possible that change their server."""
    if not servers:
        return (NOBODY,) * len(owners)
    least, more = divmod(len(owners), len(servers))
    held = {server: [shard for shard, owner in enumerate(owners) if owner == server] for server in servers}
    # Those with most keep one more than the others.
    by_load = sorted(servers, key=lambda server: len(held[server]), reverse=True)
    share = {server: least + (place < more) for place, server in enumerate(by_load)}
    wanted = [NOBODY] * len(owners)
    for server, shards in held.items():
        for shard in shards[: share[server]]:
            wanted[shard] = server
    free = iter([shard for shard, owner in enumerate(wanted) if owner == NOBODY])
    for server in servers:
        for _ in range(share[server] - min(len(held[server]), share[server])):
            wanted[next(free)] = server
    return tuple(wanted)


def steps(now: CacheConfig, servers: Sequence[str]) -> list[CacheConfig]:
    """The configurations on the way to those servers: in the first, shards that change their server are nobody's. Once
    every server follows it, the second gives them to whom they go. So no two answer for one shard."""
    owners = spread(now.owners, servers)
    between = tuple(owner if owner == wanted else NOBODY for owner, wanted in zip(now.owners, owners, strict=True))
    both = tuple(dict.fromkeys([*now.servers, *servers]))
    return [CacheConfig(now.number + 1, both, between), CacheConfig(now.number + 2, tuple(servers), owners)]


class Names:
    """The pathnames of one cache."""

    def __init__(self, job: str) -> None:
        why = path.why_bad_name(job)
        if why is not None:
            raise serr.Inval(job, f"the name of a cache: {why}")
        self.job = job
        self.dir = f"name/cache/{job}"
        self.servers = f"{self.dir}/servers"
        self.config = f"{self.dir}/config"
        self.lock = f"{self.dir}/lock"

    def server(self, name: str) -> str:
        return f"{self.servers}/{name}"

    def group(self, name: str) -> str:
        """The group of procs that keeps a server alive."""
        return f"cache-{self.job}-{name}"

"""Keys over shards, and shards over servers: for services that keep what they hold at several places. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

_FNV_OFFSET: Final = 0x811C9DC5
_FNV_PRIME: Final = 0x01000193


def fnv1a(data: bytes) -> int:
    """FNV-1a of 32 bits: the same in every process and every language, unlike Python's own hash. Some 50 ns a byte."""
    value = _FNV_OFFSET
    for byte in data:
        value = (value ^ byte) * _FNV_PRIME & 0xFFFF_FFFF
    return value


def spread(owners: Sequence[str], servers: Sequence[str], fixed: Container[int] = ()) -> list[str]:
    """An owner out of ``servers`` for each shard: as evenly as can be, with as few as possible that change hands, and
    none of the shards that are ``fixed``. What it yields depends on the arguments alone.

    ``owners`` may name some that are no servers (any more). With no servers at all everything stays as it is. Fixed
    shards may make it less even.
    """
    if not servers:
        return list(owners)
    wanted = list(owners)
    # Lists and dicts in the order of the arguments, no sets to walk through: all who compute it must come to the same.
    held: dict[str, list[int]] = {server: [] for server in servers}
    for shard, owner in enumerate(owners):
        if owner in held:
            held[owner].append(shard)
    homeless = [shard for shard, owner in enumerate(owners) if owner not in held and shard not in fixed]
    least, more = divmod(len(owners), len(servers))
    # Whoever has most keeps one more than the others: so fewer change hands.
    by_load = sorted(servers, key=lambda server: -len(held[server]))
    shares = {server: least + (rank < more) for rank, server in enumerate(by_load)}
    for server in servers:
        surplus = len(held[server]) - shares[server]
        if surplus > 0:
            movable = [shard for shard in held[server] if shard not in fixed]
            given_up = set(movable[-surplus:])
            homeless += movable[-surplus:]
            held[server] = [shard for shard in held[server] if shard not in given_up]
    for server in servers:
        for _ in range(min(shares[server] - len(held[server]), len(homeless))):
            wanted[homeless.pop(0)] = server
    for shard in homeless:  # fixed ones took more than their share: whoever has least
        wanted[shard] = min(servers, key=wanted.count)
    return wanted

"""What a cache can be tuned by: each value with its unit and its reason. Durations are in seconds, sizes in bytes."""

from __future__ import annotations

from typing import Final

import msgspec


class CacheClntTuning(msgspec.Struct, frozen=True):
    """Of clients."""

    attempt_s: float = 5.0
    """How long a server may take for one call; it answers in a millisecond."""
    look_s: float = 1.0
    """How long a look waits for a shard that is on its way; then it is a miss, which costs no more than that."""
    change_s: float = 10.0
    """How long a change waits for its server; then it is an error. Longer than a server takes to be started again."""
    pause_s: float = 0.01
    """Between two rounds that found the same configuration."""
    request_bytes: int = 1 << 20
    """A request with more is cut into several."""


class CacheServerTuning(msgspec.Struct, frozen=True):
    """Of servers."""

    bytes_max: int = 256 << 20
    """What a server holds at most, unless the cache was started with something else."""
    entry_bytes: int = 300
    """What a key counts beside itself and its value: about what Python needs for it."""
    reply_bytes: int = 64 << 20
    """A reply has no more values once it has so many bytes; one value may be as large again."""
    hottest_max: int = 10_000
    """Keys in one reply that lists the most wanted."""


class CacheJobTuning(msgspec.Struct, frozen=True):
    """Of whoever changes which servers there are."""

    follow_s: float = 15.0
    """How long a server may be away before a change is given up: it is being started again meanwhile."""
    dead_s: float = 1.0
    """The same for a server that is to go anyway."""
    pause_s: float = 0.05
    """Between two tries to tell a server of a configuration."""
    end_s: float = 10.0
    """How long a server may take to end once it was evicted; then it is killed."""


class MemcachedTuning(msgspec.Struct, frozen=True):
    """Of clients of memcached."""

    timeout_s: float = 2.0
    """Of each step of a call."""
    append_tries_max: int = 100
    """So often a client appends or adds, while others make the key and remove it in between."""


CLNT: Final = CacheClntTuning()
SERVER: Final = CacheServerTuning()
JOB: Final = CacheJobTuning()
MEMCACHED: Final = MemcachedTuning()

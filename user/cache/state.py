"""What one server holds: the values of its shards, the least recently used of which go first. Pure."""

from __future__ import annotations

import heapq
from collections import OrderedDict
from typing import TYPE_CHECKING

from sigmaos_ray import serr
from user.cache.config import EMPTY, CacheConfig, shard_of
from user.cache.tuning import SERVER

if TYPE_CHECKING:
    from collections.abc import Iterable


class CacheEntry:
    """The value of a key, and how it was used since it is there. Moments are those of the state's clock, in seconds."""

    __slots__ = ("expires_s", "gets", "put_s", "puts", "shard", "value")

    def __init__(self, shard: int) -> None:
        self.shard = shard
        self.value = b""
        self.gets = 0
        self.puts = 0
        self.put_s = 0.0
        self.expires_s: float | None = None


class Counts:
    """How often what happened since the server's start."""

    def __init__(self) -> None:
        self.hits = self.misses = self.puts = self.deletes = self.evictions = self.expirations = 0


class CacheState:
    """The values of the shards that the server ``name`` has in its configuration: at most ``bytes_max`` of them, keys
    and what they cost Python included. Each call is told the moment, ``now_s``, of one clock."""

    def __init__(self, name: str, bytes_max: int) -> None:
        self._name = name
        self.bytes_max = bytes_max
        self.size_bytes = 0
        self.config: CacheConfig = EMPTY
        self.counts = Counts()
        self._entries: OrderedDict[str, CacheEntry] = OrderedDict()
        self._owned: frozenset[int] = frozenset()

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def shards_count(self) -> int:
        """How many shards are here."""
        return len(self._owned)

    def follow(self, config: CacheConfig) -> bool:
        """Takes a configuration on, unless it is no newer than the one in force; whether it did. The values of shards
        that are here no more go: when a shard comes back, others may have changed its keys."""
        if config.number <= self.config.number:
            return False
        self.config = config
        owned = frozenset(shard for shard, owner in enumerate(config.owners) if owner == self._name)
        # Only what left: shards that stay keep their values, and those that come begin empty.
        gone = self._owned - owned
        self._owned = owned
        if gone:
            for key in [key for key, entry in self._entries.items() if entry.shard in gone]:
                self._drop(key)
        return True

    def owns(self, key: str) -> bool:
        """Whether the key's shard is here."""
        return shard_of(key) in self._owned

    def get(self, key: str, now_s: float) -> bytes | None:
        """The value; None for a miss, whoever the key belongs to: see ``owns``."""
        entry = self._live(key, now_s)
        if entry is None:
            return None
        self._entries.move_to_end(key)
        entry.gets += 1
        self.counts.hits += 1
        return entry.value

    def _live(self, key: str, now_s: float) -> CacheEntry | None:
        """The entry, unless its time is over: then it goes now."""
        entry = self._entries.get(key)
        if entry is not None and entry.expires_s is not None and entry.expires_s <= now_s:
            self._drop(key)
            self.counts.expirations += 1
            return None
        return entry

    def put(self, key: str, value: bytes, now_s: float, ttl_s: float = 0.0, *, append: bool = False) -> None:
        """Puts a value, or appends to the one that is there; the least recently used ones make room. It is kept for
        ``ttl_s`` at most, if that is not 0. Inval for a value that has no room at all: then nothing is changed."""
        entry = self._live(key, now_s)
        # Together before the size is looked at: what does not fit must leave the old value as it is.
        if append and entry is not None:
            value = entry.value + value
        size = len(key) + len(value) + SERVER.entry_bytes
        if size > self.bytes_max:
            raise serr.Inval(f"key {key}", f"{len(value)} bytes: the server has room for {self.bytes_max} in all")
        if entry is None:
            entry = self._entries[key] = CacheEntry(shard_of(key))
            self.size_bytes += size
        else:
            self._entries.move_to_end(key)
            self.size_bytes += len(value) - len(entry.value)
        entry.value = value
        entry.puts += 1
        entry.put_s = now_s
        entry.expires_s = now_s + ttl_s if ttl_s > 0 else None
        self.counts.puts += 1
        # Never the one that was just put: it is the last in line, and fits by itself.
        while self.size_bytes > self.bytes_max:
            self._drop(next(iter(self._entries)))
            self.counts.evictions += 1

    def delete(self, key: str, now_s: float) -> bool:
        """Removes a key; whether it was there."""
        if self._live(key, now_s) is None:
            return False
        self._drop(key)
        self.counts.deletes += 1
        return True

    def _drop(self, key: str) -> None:
        entry = self._entries.pop(key)
        self.size_bytes -= len(key) + len(entry.value) + SERVER.entry_bytes

    def clear(self) -> None:
        """Removes all keys; they count neither as deleted nor as evicted."""
        self._entries.clear()
        self.size_bytes = 0

    def entry(self, key: str, now_s: float) -> CacheEntry | None:
        """A key's numbers, None if it is not there. To look at them does not count as a use of it."""
        return self._live(key, now_s)

    def hottest(self, count: int) -> Iterable[tuple[str, CacheEntry]]:
        """The keys that were asked for most, most first."""
        return heapq.nlargest(count, self._entries.items(), key=lambda item: item[1].gets)

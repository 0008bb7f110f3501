"""``CacheSrv``: one server's keys, and its part of the configuration."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from sigmaos_ray import debug, serr
from sigmaos_ray.rpcsrv import RpcContext, immediate
from user.cache import cache_pb2 as pb
from user.cache.config import CacheConfig

if TYPE_CHECKING:
    from user.cache.state import CacheEntry, CacheState

_REPLY_BYTES_MAX: Final = 64 << 20
_HOTTEST_MAX: Final = 10_000
_log = debug.selector("CACHESRV")


class CacheSrv:
    """No method waits, so each is carried out as a whole."""

    def __init__(self, state: CacheState) -> None:
        self._state = state

    @immediate
    def Get(self, ctx: RpcContext, request: pb.GetRequest) -> pb.GetReply:
        state, now_s = self._state, time.monotonic()
        told = bytearray()
        values: list[bytes] = []
        size = 0
        for key in request.keys:
            if size > _REPLY_BYTES_MAX:
                told.append(pb.LATER)
                values.append(b"")
                continue
            value = state.get(key, now_s)
            if value is not None:
                told.append(pb.DONE)
                values.append(value)
                size += len(value)
                continue
            told.append(self._missed(key))
            values.append(b"")
        return pb.GetReply(told=bytes(told), values=values)

    def _missed(self, key: str) -> int:
        if not self._state.owns(key):
            return pb.ELSEWHERE
        self._state.counts.misses += 1
        return pb.MISS

    @immediate
    def Put(self, ctx: RpcContext, request: pb.PutRequest) -> pb.ToldReply:
        state, now_s = self._state, time.monotonic()
        told = bytearray()
        for pair in request.pairs:
            if not state.owns(pair.key):
                told.append(pb.ELSEWHERE)
                continue
            state.put(pair.key, pair.value, now_s, request.ttl_s, append=request.append)
            told.append(pb.DONE)
        return pb.ToldReply(told=bytes(told))

    @immediate
    def Delete(self, ctx: RpcContext, request: pb.DeleteRequest) -> pb.ToldReply:
        state, now_s = self._state, time.monotonic()
        told = bytearray()
        for key in request.keys:
            if not state.owns(key):
                told.append(pb.ELSEWHERE)
            else:
                told.append(pb.DONE if state.delete(key, now_s) else pb.MISS)
        return pb.ToldReply(told=bytes(told))

    @immediate
    def Clear(self, ctx: RpcContext, request: pb.ClearRequest) -> pb.ClearReply:
        """Forgets all keys."""
        self._state.clear()
        return pb.ClearReply()

    # -- numbers

    @immediate
    def KeyStats(self, ctx: RpcContext, request: pb.KeyStatsRequest) -> pb.KeyStatsReply:
        now_s = time.monotonic()
        entry = self._state.entry(request.key, now_s)
        if entry is None:
            return pb.KeyStatsReply(told=bytes([pb.MISS if self._state.owns(request.key) else pb.ELSEWHERE]))
        return pb.KeyStatsReply(told=bytes([pb.DONE]), stats=_numbers(request.key, entry, now_s))

    @immediate
    def Hottest(self, ctx: RpcContext, request: pb.HottestRequest) -> pb.HottestReply:
        """The keys that were asked for most."""
        if request.count > _HOTTEST_MAX:
            raise serr.Inval("Hottest", f"{request.count} keys: at most {_HOTTEST_MAX}")
        now_s = time.monotonic()
        found = self._state.hottest(request.count)
        return pb.HottestReply(keys=[_numbers(key, entry, now_s) for key, entry in found])

    @immediate
    def Stats(self, ctx: RpcContext, request: pb.StatsRequest) -> pb.StatsReply:
        state, counts = self._state, self._state.counts
        return pb.StatsReply(
            keys=len(state),
            size_bytes=state.size_bytes,
            bytes_max=state.bytes_max,
            hits=counts.hits,
            misses=counts.misses,
            puts=counts.puts,
            deletes=counts.deletes,
            evictions=counts.evictions,
            expirations=counts.expirations,
            shards=state.shards_count,
            config=state.config.number,
        )

    # -- configurations

    @immediate
    def Follow(self, ctx: RpcContext, request: pb.ConfigRequest) -> pb.ConfigReply:
        """From the answer on, the server follows this configuration, or a newer one."""
        if self._state.follow(CacheConfig.from_bytes(request.config)):
            _log(f"configuration {self._state.config.number}: {self._state.shards_count} shards")
        return pb.ConfigReply(number=self._state.config.number)


def _numbers(key: str, entry: CacheEntry, now_s: float) -> pb.KeyStats:
    return pb.KeyStats(
        key=key, gets=entry.gets, puts=entry.puts, value_bytes=len(entry.value), age_s=now_s - entry.put_s
    )

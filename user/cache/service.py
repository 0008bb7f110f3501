"""``CacheSrv``: one server's keys, and its part of the configuration."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from sigmaos_ray import debug, serr
from sigmaos_ray.rpcsrv import RpcContext, immediate
from user.cache import cache_pb2 as pb
from user.cache.config import CacheConfig
from user.cache.tuning import SERVER

if TYPE_CHECKING:
    from user.cache.state import CacheEntry, CacheState

_log = debug.selector("CACHESRV")


# The methods are immediate: they run on the loop as they come, since a task for each would take longer than they do.
class CacheSrv:
    """The RPC service of one server. No method waits, so each is carried out as a whole. Keys of shards that are not
    here are ELSEWHERE: their client asks again, by a newer configuration."""

    def __init__(self, state: CacheState) -> None:
        self._state = state

    @immediate
    def Get(self, ctx: RpcContext, request: pb.GetRequest) -> pb.GetReply:
        """The values of some keys. Once the reply is full, the keys that are left are LATER."""
        state, now_s = self._state, time.monotonic()
        outcomes = bytearray()
        values: list[bytes] = []
        size = 0
        for key in request.keys:
            if size > SERVER.reply_bytes:
                outcomes.append(pb.LATER)
                values.append(b"")
                continue
            # Looked for before its shard is: what is here is here by right, as ``follow`` drops what is not.
            value = state.get(key, now_s)
            if value is not None:
                outcomes.append(pb.DONE)
                values.append(value)
                size += len(value)
                continue
            outcomes.append(self._count_miss(key))
            values.append(b"")
        return pb.GetReply(outcomes=bytes(outcomes), values=values)

    def _count_miss(self, key: str) -> int:
        """The outcome of a key that is not there. It counts as a miss only if it would belong here."""
        if not self._state.owns(key):
            return pb.ELSEWHERE
        self._state.counts.misses += 1
        return pb.MISS

    @immediate
    def Put(self, ctx: RpcContext, request: pb.PutRequest) -> pb.OutcomesReply:
        """Puts or appends values. Inval for one that has no room: those before it are put."""
        state, now_s = self._state, time.monotonic()
        outcomes = bytearray()
        for pair in request.pairs:
            if not state.owns(pair.key):
                outcomes.append(pb.ELSEWHERE)
                continue
            state.put(pair.key, pair.value, now_s, request.ttl_s, append=request.append)
            outcomes.append(pb.DONE)
        return pb.OutcomesReply(outcomes=bytes(outcomes))

    @immediate
    def Delete(self, ctx: RpcContext, request: pb.DeleteRequest) -> pb.OutcomesReply:
        """Removes keys; MISS for one that was not there."""
        state, now_s = self._state, time.monotonic()
        outcomes = bytearray()
        for key in request.keys:
            if not state.owns(key):
                outcomes.append(pb.ELSEWHERE)
            else:
                outcomes.append(pb.DONE if state.delete(key, now_s) else pb.MISS)
        return pb.OutcomesReply(outcomes=bytes(outcomes))

    @immediate
    def Clear(self, ctx: RpcContext, request: pb.ClearRequest) -> pb.ClearReply:
        """Removes all keys."""
        self._state.clear()
        return pb.ClearReply()

    # -- numbers

    @immediate
    def KeyStats(self, ctx: RpcContext, request: pb.KeyStatsRequest) -> pb.KeyStatsReply:
        """How one key was used since it is there."""
        now_s = time.monotonic()
        entry = self._state.entry(request.key, now_s)
        if entry is None:
            return pb.KeyStatsReply(outcomes=bytes([pb.MISS if self._state.owns(request.key) else pb.ELSEWHERE]))
        return pb.KeyStatsReply(outcomes=bytes([pb.DONE]), stats=_numbers(request.key, entry, now_s))

    @immediate
    def Hottest(self, ctx: RpcContext, request: pb.HottestRequest) -> pb.HottestReply:
        """The keys that were asked for most, most first. Inval for too many."""
        if request.count > SERVER.hottest_max:
            raise serr.Inval("Hottest", f"{request.count} keys: at most {SERVER.hottest_max}")
        now_s = time.monotonic()
        hottest = self._state.hottest(request.count)
        return pb.HottestReply(keys=[_numbers(key, entry, now_s) for key, entry in hottest])

    @immediate
    def Stats(self, ctx: RpcContext, request: pb.StatsRequest) -> pb.StatsReply:
        """How much is here, and how it was used since the server's start."""
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
        """From its reply on, the server follows this configuration, or a newer one. Inval for what is none."""
        if self._state.follow(CacheConfig.from_bytes(request.config)):
            _log(f"configuration {self._state.config.number}: {self._state.shards_count} shards")
        return pb.ConfigReply(number=self._state.config.number)


def _numbers(key: str, entry: CacheEntry, now_s: float) -> pb.KeyStats:
    return pb.KeyStats(
        key=key, gets=entry.gets, puts=entry.puts, value_bytes=len(entry.value), age_s=now_s - entry.put_s
    )

"""What a server answers: to clerks, ``KvSrv``; to movers and the balancer, ``KvMove``."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from sigmaos_ray import serr
from sigmaos_ray.rpcsrv import immediate
from user.kv import kv_pb2 as pb
from user.kv.changes import State
from user.kv.state import EMPTY

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from sigmaos_ray.rpcsrv import RpcContext
    from user.kv.changes import AnyChange, Number
    from user.kv.copies import Copies
    from user.kv.shards import Shards


class KvSrv:
    """The RPC service that clerks call. How each key or write fared is in the reply's ``outcomes``; an error is for a
    whole request: Inval for what no clerk asks, Unreachable and IOErr as ``Shards`` raises them."""

    def __init__(self, shards: Shards) -> None:
        self._shards = shards

    @immediate
    def Get(self, ctx: RpcContext, request: pb.GetRequest) -> pb.GetReply | Awaitable[pb.GetReply]:
        """The values of some keys."""
        return self._shards.get(request)

    async def Write(self, ctx: RpcContext, request: pb.WriteRequest) -> pb.WriteReply:
        """Writes, in order; each takes effect once, however often it comes."""
        return await self._shards.write(request)

    async def Scan(self, ctx: RpcContext, request: pb.ScanRequest) -> pb.ScanReply:
        """A page of one shard, by key."""
        return await self._shards.scan(request)


class KvMove:
    """The RPC service that movers and the balancer call. Each step may be repeated, and is answered once it is in the
    journal. Stale for a move that a later one has overtaken; other errors as ``ShardTable`` raises them."""

    def __init__(self, shards: Shards, copies: Copies, pid: str) -> None:
        self._shards = shards
        self._copies = copies
        self._table = shards.table
        self._pid = pid
        self._began_s = time.monotonic()

    async def Create(self, ctx: RpcContext, request: pb.ShardsRequest) -> pb.NothingReply:
        """Makes empty shards, those excepted that are here: for the first server of a store."""
        self._shards.check_leading()
        move = _number(request.number)
        changes: list[AnyChange] = []
        here = set(self._table.here())
        for shard in set(request.shards) - here:
            changes += self._table.install(shard, move, 0, 0, EMPTY, last=True)
        await self._shards.commit(*changes)
        return pb.NothingReply()

    async def Freeze(self, ctx: RpcContext, request: pb.FreezeRequest) -> pb.FreezeReply:
        """Ends the changes of a shard; ``gone``: it went with this move already."""
        self._shards.check_leading()
        try:
            # Gone is said of a shard that is not here at all: a mover asks only for what was at this server when it was
            # planned.
            change = self._table.freeze(request.shard, _number(request.number))
        except serr.NotFound:
            await self._shards.commit()  # that it left may not be in the journal yet
            return pb.FreezeReply(gone=True)
        await self._shards.commit(change)
        return pb.FreezeReply()

    async def Dump(self, ctx: RpcContext, request: pb.DumpRequest) -> pb.DumpReply:
        """A part of a frozen shard."""
        # Read first, then asked: what was read is good only if this server surely led when it was.
        data, last, digest = self._table.dump(request.shard, _number(request.number), request.part)
        self._shards.check_leading()
        return pb.DumpReply(data=data, last=last, digest=digest)

    async def Install(self, ctx: RpcContext, request: pb.InstallRequest) -> pb.NothingReply:
        """The next part of a shard that comes here."""
        self._shards.check_leading()
        changes = self._table.install(
            request.shard,
            _number(request.number),
            request.digest,
            request.part,
            request.data,
            last=request.last,
        )
        await self._shards.commit(*changes)
        return pb.NothingReply()

    async def Drop(self, ctx: RpcContext, request: pb.FreezeRequest) -> pb.NothingReply:
        """Ends a shard here, once it is at its destination."""
        self._shards.check_leading()
        await self._shards.commit(self._table.drop(request.shard, _number(request.number)))
        return pb.NothingReply()

    async def Stats(self, ctx: RpcContext, request: pb.NothingRequest) -> pb.ServerStatsReply:
        """How this server is: answered also while it is in doubt who leads."""
        keys, value_bytes = self._table.sizes()
        states = self._table.states()
        return pb.ServerStatsReply(
            shards=[shard for shard in self._table.here() if states[shard] is State.READY],
            keys=keys,
            value_bytes=value_bytes,
            gets=self._shards.gets_count,
            writes=self._shards.writes_count,
            cpu_s=time.process_time(),
            uptime_s=time.monotonic() - self._began_s,
            pid=self._pid,
            log_bytes=self._shards.log_bytes,
            nodes=self._copies.nodes,
        )


def _number(number: pb.Number) -> Number:
    return number.epoch, number.seqno

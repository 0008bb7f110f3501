"""Leases of files in named are etcd's own, so they outlive a change of leader (L-1, L-5): the RPCs of clients, and how
leases are kept while nobody is there to take these."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from sigmaos_ray import debug, serr
from sigmaos_ray.pb.rpc_pb2 import AskLeaseReply, AskLeaseRequest, LeaseReply, LeaseRequest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

    from kernel.named.etcd import Etcd
    from kernel.named.keys import Keys
    from sigmaos_ray.rpcsrv import RpcContext

_log = debug.selector("NAMED_LDR")

_LOOKS_PER_TTL: Final = 10
"""Half a lease's time and one look are less than the two thirds that a client's lease, extended each third of its
time, has left when its named falls silent."""


class LeaseSrv:
    """What clients ask of the leader."""

    def __init__(self, etcd: Etcd, expire: Callable[[bytes, int], Awaitable[None]]) -> None:
        """``expire`` takes an entry's key, deleted by a revision, out of the tree."""
        self._etcd = etcd
        self._expire = expire

    async def AskLease(self, ctx: RpcContext, request: AskLeaseRequest) -> AskLeaseReply:
        """A new lease. etcd grants whole seconds, and at least about 2."""
        lease_id, ttl_s = await self._etcd.grant(max(1, round(request.ttl_s)))
        return AskLeaseReply(lease_id=lease_id, ttl_s=ttl_s)

    async def Extend(self, ctx: RpcContext, request: LeaseRequest) -> LeaseReply:
        """NotFound if the lease is gone."""
        await self._etcd.extend(request.lease_id)
        return LeaseReply()

    async def End(self, ctx: RpcContext, request: LeaseRequest) -> LeaseReply:
        """Its files are gone when this returns: who asked may make them anew. NotFound if it is gone already."""
        # Before the revocation, after which etcd does not know them any more.
        keys = await self._etcd.lease_keys(request.lease_id)
        revision = await self._etcd.revoke(request.lease_id)
        for key in keys:
            await self._expire(key, revision)
        return LeaseReply()


class Bridge:
    """For a standby. A leader that does not extend its own lease in time does not take its clients' extensions either,
    so theirs are extended from here until somebody leads again. (A client that died meanwhile keeps its files for that
    much longer.) ``start`` it; ``land`` when elected, or ``stop``."""

    def __init__(self, etcd: Etcd, keys: Keys, ttl_s: int, leases: Callable[[], Collection[int]]) -> None:
        self._etcd = etcd
        self._keys = keys
        self._ttl_s = ttl_s
        self._leases = leases
        self._was_late = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="named-bridge")

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._ttl_s / _LOOKS_PER_TTL)
            try:
                await self._look()
            except serr.SigmaError as error:
                _log(f"bridge: {error}")

    async def _look(self) -> None:
        candidates = [kv async for kv in self._etcd.scan(self._keys.election)]
        leader = min(candidates, key=lambda kv: kv.create_revision, default=None)
        if leader is None:
            return
        left_s, granted_s = await self._etcd.time_to_live(leader.lease)
        # A leader extends at each third: one that has less than half left has missed a turn, and its clients theirs.
        self._was_late = left_s < granted_s / 2
        if self._was_late:
            await self._extend({kv.lease for kv in candidates})

    async def _extend(self, but: set[int]) -> None:
        # A leader's name in the tree hangs on its own lease, which is to run out.
        leases = set(self._leases()) - but
        _log(f"the leader's lease was late: {len(leases)} leases are extended for it")
        await self._etcd.extend_all(leases)

    async def land(self) -> None:
        """Elected: once more, so that clients have their whole time to find the new leader."""
        await self.stop()
        if self._was_late:
            try:
                await self._extend({kv.lease async for kv in self._etcd.scan(self._keys.election)})
            except serr.SigmaError as error:
                _log(f"bridge: {error}")

    async def stop(self) -> None:
        """May be repeated."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
            self._task = None

"""Leases (L-1): files that go when their owner does.

A lease is asked of the server that stores a pathname, and kept alive by a task until it is ended. A client has one
lease per server.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from sigmaos_ray import debug, serr
from sigmaos_ray.pb.rpc_pb2 import AskLeaseReply, AskLeaseRequest, LeaseReply, LeaseRequest
from sigmaos_ray.rpcclnt import AsyncRPCClnt

if TYPE_CHECKING:
    from sigmaos_ray.fslib import AsyncFsLib
    from sigmaos_ray.rpcclnt import BlockingClient

_log = debug.selector("LEASECLNT")


class AsyncLease:
    """One lease. ``end`` it, or let it expire ``ttl_s`` after the last extension."""

    def __init__(self, rpc: AsyncRPCClnt, lease_id: int, ttl_s: float) -> None:
        self.id = lease_id
        self.ttl_s = ttl_s
        self.lost = asyncio.Event()
        """Set once the server said that the lease is gone: so are its files."""
        self._rpc = rpc
        self._keeper: asyncio.Task[None] | None = None

    def keep_extending(self) -> None:
        """Extends the lease every third of its time from now on, until ``end``, or until the server lost it."""
        if self._keeper is None:
            self._keeper = asyncio.create_task(self._keep(), name=f"lease-{self.id:x}")

    async def _keep(self) -> None:
        pause_s = self.ttl_s / 3
        while True:
            await asyncio.sleep(pause_s)
            pause_s = self.ttl_s / 3
            try:
                await self.extend()
            except serr.NotFound:
                _log(f"lease {self.id:x} is gone")
                self.lost.set()
                return
            except serr.SigmaError as error:  # the server is being replaced; there is time until the lease's end
                _log(f"lease {self.id:x}: {error}")
                pause_s = self.ttl_s / 10

    async def extend(self) -> None:
        """Extends once. NotFound if the lease is gone."""
        await self._rpc.rpc("LeaseSrv.Extend", LeaseRequest(lease_id=self.id), LeaseReply, self.ttl_s)

    async def stop_extending(self) -> None:
        """Leaves the lease to expire."""
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.cancel()
            await asyncio.wait({keeper})

    async def end(self) -> None:
        """Ends the lease: its files go now. A lease that is gone already is fine."""
        await self.stop_extending()
        try:
            await self._rpc.rpc("LeaseSrv.End", LeaseRequest(lease_id=self.id), LeaseReply, self.ttl_s)
        except serr.NotFound:
            return


class AsyncLeaseClnt:
    """The leases of one client, one per server."""

    def __init__(self, sc: AsyncFsLib) -> None:
        self._sc = sc
        self._leases: dict[str, AsyncLease] = {}

    async def ask_lease(self, pn: str, ttl_s: float | None = None) -> AsyncLease:
        """A lease of the server that stores ``pn``; the same one when asked again, unless it was lost. ``ttl_s``
        in seconds, at least 2 (what etcd grants)."""
        server = await self._sc.server_of(pn)
        lease = self._leases.get(server)
        if lease is None or lease.lost.is_set():
            rpc = AsyncRPCClnt(self._sc, server)
            request = AskLeaseRequest(ttl_s=ttl_s or self._sc.config.lease.ttl_s)
            reply = await rpc.rpc("LeaseSrv.AskLease", request, AskLeaseReply)
            lease = self._leases[server] = AsyncLease(rpc, reply.lease_id, reply.ttl_s)
        return lease

    async def stop_extending(self) -> None:
        """Leaves all leases to expire."""
        for lease in self._leases.values():
            await lease.stop_extending()

    async def end_leases(self) -> None:
        """Ends all leases; what a server does not answer for expires by itself."""
        leases = list(self._leases.values())
        self._leases.clear()
        for lease in leases:
            try:
                await lease.end()
            except serr.SigmaError as error:
                _log(f"lease {lease.id:x}: {error}")


class Lease:
    """The blocking face of a lease."""

    def __init__(self, sc: BlockingClient, lease: AsyncLease) -> None:
        self._sc = sc
        self._lease = lease

    @property
    def id(self) -> int:
        return self._lease.id

    @property
    def ttl_s(self) -> float:
        return self._lease.ttl_s

    @property
    def is_lost(self) -> bool:
        """True once the server said that the lease is gone."""
        return self._lease.lost.is_set()

    def keep_extending(self) -> None:
        """See ``AsyncLease.keep_extending``: on the client's loop thread, which a busy program does not hold up."""
        self._sc.run(self._keep_extending())

    async def _keep_extending(self) -> None:
        self._lease.keep_extending()

    def extend(self) -> None:
        self._sc.run(self._lease.extend())

    def end(self) -> None:
        self._sc.run(self._lease.end())


class LeaseClnt:
    """The blocking face of ``AsyncLeaseClnt``."""

    def __init__(self, sc: BlockingClient) -> None:
        self._sc = sc
        self._clnt = AsyncLeaseClnt(sc.asynchronous)

    def ask_lease(self, pn: str, ttl_s: float | None = None) -> Lease:
        """See ``AsyncLeaseClnt.ask_lease``."""
        return Lease(self._sc, self._sc.run(self._clnt.ask_lease(pn, ttl_s)))

    def end_leases(self) -> None:
        self._sc.run(self._clnt.end_leases())

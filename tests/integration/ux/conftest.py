"""A named in memory, which ux advertises itself in."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest_asyncio

from sigmaos_ray.memfs import MemFs
from sigmaos_ray.pb.rpc_pb2 import AskLeaseReply, AskLeaseRequest, LeaseReply, LeaseRequest
from sigmaos_ray.protsrv.node import Caller, OpenHow
from sigmaos_ray.protsrv.server import FileServer
from sigmaos_ray.protsrv.watch import WatchTable
from sigmaos_ray.sessp.channel import close_channels
from sigmaos_ray.sigmap import DMDIR, OREAD

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sigmaos_ray.protsrv.rpcdev import RpcContext
    from sigmaos_ray.sigmap import Endpoint


class LeaseSrv:
    """Leases that end when they are ended."""

    def __init__(self, fs: MemFs) -> None:
        self._fs = fs
        self._numbers = itertools.count(1)

    async def AskLease(self, ctx: RpcContext, request: AskLeaseRequest) -> AskLeaseReply:
        return AskLeaseReply(lease_id=next(self._numbers), ttl_s=request.ttl_s)

    async def Extend(self, ctx: RpcContext, request: LeaseRequest) -> LeaseReply:
        return LeaseReply()

    async def End(self, ctx: RpcContext, request: LeaseRequest) -> LeaseReply:
        self._fs.end_lease(request.lease_id)
        return LeaseReply()


@pytest_asyncio.fixture
async def named() -> AsyncIterator[Endpoint]:
    watches = WatchTable()
    fs = MemFs(watches)
    for name in ("s3", "ux"):
        await fs.root.create(Caller(), name, OpenHow(OREAD, DMDIR | 0o777))
    server = FileServer(fs.root, watches, services=[LeaseSrv(fs)])
    yield await server.start()
    await server.stop()
    await close_channels()

"""A service for the tests of servers and their clients; any protobuf will do as message."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

from sigmaos_ray import serr
from sigmaos_ray.pb.rpc_pb2 import AskLeaseReply, LeaseReply, LeaseRequest, Part, RpcReply, RpcRequest
from sigmaos_ray.rpcsrv import RpcContext, immediate

if TYPE_CHECKING:
    from collections.abc import Awaitable


class Probe:
    """Says who answers, waits until it is told to go on, and counts what ran."""

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.ran: list[str] = []
        self.entered = threading.Event()
        self.go_on = threading.Event()

    async def Who(self, ctx: RpcContext, request: RpcRequest) -> RpcReply:
        self.ran.append(request.method)
        return RpcReply(raised=self.name)

    async def Large(self, ctx: RpcContext, request: RpcRequest) -> RpcReply:
        return RpcReply(raised=request.method)

    async def Grow(self, ctx: RpcContext, request: LeaseRequest) -> RpcReply:
        return RpcReply(raised="x" * request.lease_id)

    async def Raise(self, ctx: RpcContext, request: RpcRequest) -> RpcReply:
        raise ValueError(request.method)

    @immediate
    def Now(self, ctx: RpcContext, request: RpcRequest) -> RpcReply:
        self.ran.append(request.method)
        if request.method == "refuse":
            raise serr.Stale("now", "refused")
        if request.method == "break":
            raise ZeroDivisionError("now")
        return RpcReply(raised=f"{self.name} {ctx.caller.principal} {request.method}")

    @immediate
    def Later(self, ctx: RpcContext, request: LeaseRequest) -> AskLeaseReply | Awaitable[AskLeaseReply]:
        """Answers at once, or after so many milliseconds."""
        return self._later(request) if request.lease_id else AskLeaseReply(ttl_s=0)

    async def _later(self, request: LeaseRequest) -> AskLeaseReply:
        await asyncio.sleep(request.lease_id / 1e3)
        return AskLeaseReply(ttl_s=request.lease_id)

    async def Held(self, ctx: RpcContext, request: RpcRequest) -> RpcReply:
        self.ran.append(request.method)
        self.entered.set()
        while not self.go_on.is_set():  # noqa: ASYNC110  # set by a thread
            await asyncio.sleep(0.01)
        return RpcReply(raised=self.name)

    def Blocking(self, ctx: RpcContext, request: LeaseRequest) -> LeaseReply:
        self.go_on.wait(30)
        return LeaseReply()

    async def Remaining(self, ctx: RpcContext, request: LeaseRequest) -> AskLeaseReply:
        await asyncio.sleep(0.05)
        left_s = ctx.remaining_s()
        return AskLeaseReply(ttl_s=-1 if left_s is None else left_s)

    async def Away(self, ctx: RpcContext, request: Part) -> LeaseReply:
        """Fails as if the server were away, after it ran."""
        self.ran.append("Away")
        raise (serr.Unreachable if request.number else serr.IOErr)("elsewhere", "a server behind this one")

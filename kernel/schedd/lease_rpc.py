"""What a schedd answers to its leases: the RPC service ``WorkerLeases``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.schedd.places import Runner
from sigmaos_ray.auth import rights
from sigmaos_ray.pb import proc_pb2 as pb
from sigmaos_ray.proc import Status
from sigmaos_ray.rpcsrv import RpcContext, immediate

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from kernel.schedd.leasing import Leasing
    from kernel.schedd.node_procs import NodeProcs
    from kernel.schedd.procstate import ProcState


class WorkerLeases:
    """The calls of ``kernel.schedd.agent``."""

    def __init__(self, procs: NodeProcs) -> None:
        self._procs = procs

    def _leasing(self) -> Leasing:
        assert self._procs.leasing is not None, "no leases before start"
        return self._procs.leasing

    @immediate
    def Next(self, ctx: RpcContext, request: pb.LeaseNextRequest) -> pb.LeaseNextReply | Awaitable[pb.LeaseNextReply]:
        rights.check_is_of_instance(ctx.caller.claims, "WorkerLeases")
        if request.HasField("ended"):
            self._ended(request.lease, request.ended)
        if request.HasField("returned"):
            self._returned(request.lease, request.returned.number)
        runner = Runner.from_pb(request.runner) if request.HasField("runner") else None
        return self._leasing().next(request.lease, runner)

    def _ended(self, lease_id: str, ended: pb.LeaseEnded) -> None:
        proc = self._proc(lease_id, ended.proc.number)
        if proc is not None:
            proc.times = ended.status.times
            if ended.started:
                self._procs.started(proc.pid)
            self._leasing().freed(proc)
            self._procs.ended(proc, Status.from_pb(ended.status))

    def _returned(self, lease_id: str, number: int) -> None:
        proc = self._proc(lease_id, number)
        if proc is not None:
            self._leasing().freed(proc)
            self._procs.returned(proc)

    @immediate
    def Tell(self, ctx: RpcContext, request: pb.LeaseTellRequest) -> pb.EmptyReply:
        rights.check_is_of_instance(ctx.caller.claims, "WorkerLeases")
        proc = self._proc(request.lease, request.proc.number)
        if proc is None:
            return pb.EmptyReply()
        if request.HasField("runner") and not proc.began_s:
            self._procs.began(proc, Runner.from_pb(request.runner))
        if request.started:
            self._procs.started(proc.pid)
        if request.wait_over:
            self._leasing().wait_over(request.lease, request.wait_over)
        if request.HasField("reported"):
            self._procs.reported(proc.pid, Status.from_pb(request.reported))
        return pb.EmptyReply()

    async def Heed(self, ctx: RpcContext, request: pb.LeaseHeedRequest) -> pb.LeaseHeedReply:
        rights.check_is_of_instance(ctx.caller.claims, "WorkerLeases")
        return await self._leasing().heed(request)

    def _proc(self, lease_id: str, number: int) -> ProcState | None:
        """What a lease speaks of; None if that is its proc no more."""
        lease = self._leasing().book.get(lease_id)
        proc = lease.proc if lease is not None else None
        return proc if proc is not None and proc.number == number else None

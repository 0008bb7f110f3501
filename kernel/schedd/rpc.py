"""What a schedd answers: the RPC service ``Schedd``."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from kernel.raylib import whereis
from kernel.schedd.procstate import ProcPhase
from kernel.schedd.state import Signal
from sigmaos_ray import serr
from sigmaos_ray.auth import rights
from sigmaos_ray.pb import observe_pb2
from sigmaos_ray.pb import proc_pb2 as pb
from sigmaos_ray.perf import remote
from sigmaos_ray.proc import Status
from sigmaos_ray.rpcsrv import RpcContext, immediate
from sigmaos_ray.sessp import wire

if TYPE_CHECKING:
    from kernel.schedd.node_procs import NodeProcs
    from kernel.schedd.procstate import ProcState


class Schedd:
    """The calls of ``procclnt``. A time-out is Timeout; an unknown or collected pid NotFound."""

    def __init__(self, procs: NodeProcs) -> None:
        self._procs = procs

    @immediate
    def Spawn(self, ctx: RpcContext, request: pb.SpawnRequest) -> pb.SpawnReply:
        _check_parent(ctx, request.proc.parent_pid)
        if request.collected:
            self._procs.table.collect_all(request.collected, request.proc.parent_pid)
        return pb.SpawnReply(kernel_id=self._procs.spawn(request.proc))

    @immediate
    def SpawnBurst(self, ctx: RpcContext, request: pb.SpawnBurstRequest) -> pb.SpawnBurstReply:
        reply = pb.SpawnBurstReply()
        for index, spec in enumerate(request.procs):
            try:
                _check_parent(ctx, spec.parent_pid)
                reply.kernel_id = self._procs.spawn(spec)
            except serr.SigmaError as error:
                reply.refused.add(index=index, error=wire.error_to_pb(error))
        return reply

    @immediate
    def Package(self, ctx: RpcContext, request: pb.PackageRequest) -> pb.PackageReply:
        return pb.PackageReply(is_wanted=self._procs.wants_package(request))

    async def PutPackage(self, ctx: RpcContext, request: pb.PutPackageRequest) -> pb.PutPackageReply:
        return pb.PutPackageReply(package=await self._procs.packages.put(request.data))

    async def WaitStart(self, ctx: RpcContext, request: pb.PidRequest) -> pb.EmptyReply:
        proc = self._procs.table.get(request.pid)
        if not proc.started and proc.phase is not ProcPhase.EXITED:
            self._procs.start_awaited(proc)
            await self._procs.waits.wait(proc, Signal.START, _limit(request.timeout_s))
        return pb.EmptyReply()

    async def WaitExit(self, ctx: RpcContext, request: pb.PidRequest) -> pb.StatusReply:
        proc = self._procs.table.get(request.pid)
        if proc.phase is not ProcPhase.EXITED:
            await self._procs.waits.wait(proc, Signal.EXIT, _limit(request.timeout_s))
        # Anybody may wait for the end and learn the status; only the parent's asking lets go of it.
        if not request.peek and request.caller_pid == proc.spec.parent_pid:
            _check_parent(ctx, request.caller_pid)
            self._procs.table.collect(proc)
        return pb.StatusReply(status=_status(proc).to_pb())

    @immediate
    def Collect(self, ctx: RpcContext, request: pb.CollectRequest) -> pb.EmptyReply:
        _check_parent(ctx, request.caller_pid)
        self._procs.table.collect_all(request.pids, request.caller_pid)
        return pb.EmptyReply()

    @immediate
    def Evict(self, ctx: RpcContext, request: pb.PidRequest) -> pb.EmptyReply:
        self._procs.evict(request.pid, _limit(request.grace_s))
        return pb.EmptyReply()

    async def WaitEvict(self, ctx: RpcContext, request: pb.PidRequest) -> pb.EmptyReply:
        proc = self._own(ctx, request.pid)
        if not proc.evicting and proc.phase is not ProcPhase.EXITED:
            await self._procs.waits.wait(proc, Signal.EVICT, _limit(request.timeout_s))
        return pb.EmptyReply()

    @immediate
    def Started(self, ctx: RpcContext, request: pb.PidRequest) -> pb.EmptyReply:
        self._own(ctx, request.pid)
        self._procs.started(request.pid)
        return pb.EmptyReply()

    @immediate
    def Exited(self, ctx: RpcContext, request: pb.ExitedRequest) -> pb.EmptyReply:
        self._own(ctx, request.pid)
        self._procs.reported(request.pid, Status.from_pb(request.status))
        return pb.EmptyReply()

    @immediate
    def Children(self, ctx: RpcContext, request: pb.ChildrenRequest) -> pb.ChildrenReply:
        children = (proc for proc in self._procs.table.all() if proc.spec.parent_pid == request.parent_pid)
        return pb.ChildrenReply(pids=[proc.pid for proc in sorted(children, key=lambda proc: proc.number)])

    @immediate
    def Load(self, ctx: RpcContext, request: pb.LoadRequest) -> pb.LoadReply:
        size = self._procs.table.counters.size
        load = pb.LoadReply(cores=size.cores, mem_mb=size.mem_mb, be_cores=self._procs.be_cores)
        for proc in self._procs.table.all():
            runner = proc.lease.runner if proc.lease is not None else None
            elsewhere = runner is not None and runner.kernel_id not in ("", proc.spec.kernel_id)
            if elsewhere or proc.phase is ProcPhase.EXITED:
                continue
            cores = proc.spec.mcpu / 1000 if proc.latency_critical else load.be_cores
            # What the node could never give waits elsewhere, or for ever: it takes nothing from others.
            if cores <= load.cores and proc.spec.mem_mb <= load.mem_mb:
                load.wanted_cores += cores
                load.wanted_mem_mb += proc.spec.mem_mb
        return load

    @immediate
    def Lives(self, ctx: RpcContext, request: pb.LivesRequest) -> pb.LivesReply:
        """Whether a token of a proc of this schedd is good still."""
        return pb.LivesReply(lives=self._procs.tokens.lives(request.table, request.slot, request.mark))

    async def Named(self, ctx: RpcContext, request: pb.NamedRequest) -> pb.NamedReply:
        endpoint = await asyncio.to_thread(whereis.ask, self._procs.realm)
        return pb.NamedReply(endpoint=b"" if endpoint is None else endpoint.to_bytes())

    async def ListProcs(self, ctx: RpcContext, request: pb.ListProcsRequest) -> pb.ListProcsReply:
        procs = sorted(self._procs.table.all(), key=lambda proc: proc.number)
        return pb.ListProcsReply(procs=[self._info(proc) for proc in procs])

    async def Profile(self, ctx: RpcContext, request: observe_pb2.ProfileRequest) -> observe_pb2.ProfileReply:
        """Profiles the process that runs a proc, until the proc ends at the latest. NotFound if it does not run."""
        kind = remote.kind_of(request.kind)
        runner = self._procs.runner(request.pid)
        taken = await self._procs.profiles.take_of(
            runner, kind, request.seconds, request.rate_hz, self._end_of(request.pid)
        )
        return observe_pb2.ProfileReply(stacks=taken.stacks, unit=taken.unit, how=taken.how, who=request.pid)

    async def _end_of(self, pid: str) -> None:
        with contextlib.suppress(serr.SigmaError):  # the schedd stops: that is an end, too
            await self._procs.waits.wait(self._procs.table.get(pid), Signal.EXIT, None)

    def _own(self, ctx: RpcContext, pid: str) -> ProcState:
        """The proc that speaks of itself. NotFound for an unknown pid, Perm for another's."""
        proc = self._procs.table.get(pid)
        rights.check_is_proc(ctx.caller.claims, pid)
        return proc

    def _info(self, proc: ProcState) -> pb.ProcInfo:
        spec = pb.ProcSpec()
        spec.CopyFrom(proc.spec)
        spec.pickled = b""
        del spec.secrets[:]
        return pb.ProcInfo(
            proc=spec,
            state=proc.phase.value,
            note=_waits_for(proc, self._procs) if proc.phase is ProcPhase.QUEUED else "",
            started_s=proc.started_s,
            ended_s=proc.ended_s,
            os_pid=proc.os_pid,
            machine=proc.runner.process.machine if proc.runner else "",
            node=proc.runner.kernel_id if proc.runner else "",
            status=None if proc.status is None else proc.status.to_pb(),
        )


def _check_parent(ctx: RpcContext, parent_pid: str) -> None:
    rights.check_is_parent(ctx.caller.claims, parent_pid)


def _limit(seconds: float) -> float | None:
    # The wire has no None: a number below 0 stands for no limit.
    return None if seconds < 0 else seconds


def _status(proc: ProcState) -> Status:
    if proc.status is None:
        raise serr.Error(proc.pid, "ended without a status")
    return proc.status


def _waits_for(proc: ProcState, procs: NodeProcs) -> str:
    """What a queued proc needs, for ``ps``, and whether there is any hope."""
    cores = proc.spec.mcpu / 1000 if proc.latency_critical else procs.be_cores
    note = f"waits for {cores:g} cores"
    if cores > procs.cores_of_largest_node:
        note += f", more than any node has ({procs.cores_of_largest_node:g})"
    if proc.spec.mem_mb > 0:
        note += f" and {proc.spec.mem_mb:g} MB"
    if proc.spec.kernels:
        note += f" on {', '.join(proc.spec.kernels)}"
    return note

"""AsyncProcClnt: a client's procs, through the schedds (X-10 to X-34).

A proc is owned by the schedd that it was handed to: the node's own, or that of a kernel node that it prefers. The
client remembers which; pids of others are looked for at every schedd.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from google.protobuf.message import Message

from sigmaos_ray import debug, serr
from sigmaos_ray.pb import proc_pb2 as pb
from sigmaos_ray.proc import ProcInfo, Status
from sigmaos_ray.procclnt import reports, spawning
from sigmaos_ray.rpcclnt import AsyncRPCClnt
from sigmaos_ray.sigmap import LOCAL, SCHEDD, path

if TYPE_CHECKING:
    from sigmaos_ray.fslib import AsyncFsLib
    from sigmaos_ray.proc import Proc, Tpid

_log = debug.selector("PROCCLNT")

R = TypeVar("R", bound=Message)

_FOR_EVER = -1.0


def _noticed(wait: asyncio.Task[pb.StatusReply]) -> None:
    """Takes note of an error that no caller waits for any more."""
    if not wait.cancelled():
        wait.exception()


class AsyncProcClnt:
    """The procs of one client. Used from the client's loop; ``close`` before the client is closed."""

    def __init__(self, sc: AsyncFsLib) -> None:
        self._sc = sc
        self._env = sc.proc_env
        self._home = self._env.schedd_id or LOCAL
        self._channels: dict[str, AsyncRPCClnt] = {}
        self._schedd_of: dict[Tpid, str] = {}
        self._exits: dict[Tpid, asyncio.Task[pb.StatusReply]] = {}
        """Waits under way. One that its caller gave up stays here, so that the status it collects is not lost."""
        self._mounting = asyncio.Lock()
        self._mounted = not self._env.schedd.addrs
        self._exited = False

    # -- parents

    async def spawn(self, proc: Proc) -> Tpid:
        """Hands a proc to a schedd; returns its pid. Queued, not started. Exists if the pid is in use, Closed after
        ``exited``, NotFound if no preferred kernel node is there."""
        if self._exited:
            raise serr.Closed(proc.pid, "the proc has exited, and cannot spawn")
        spec = spawning.child_spec(proc, self._env)
        kernel = await self._choose(proc)
        await self._call(kernel, "Spawn", pb.SpawnRequest(proc=spec), pb.SpawnReply)
        self._schedd_of[proc.pid] = kernel
        _log(f"spawned {proc.pid}")
        return proc.pid

    async def _choose(self, proc: Proc) -> str:
        """The kernel node whose schedd gets the proc (X-33)."""
        if not proc.kernels:
            return self._home
        alive = await self._schedds()
        fitting = [kernel for kernel in proc.kernels if kernel in alive]
        if not fitting:
            raise serr.NotFound(proc.pid, f"none of the kernel nodes {', '.join(proc.kernels)} is there")
        return spawning.pick(fitting)

    async def wait_start(self, pid: Tpid, timeout_s: float | None = None) -> None:
        """Returns when the proc said that it started, or ended before it could. NotFound for an unknown pid."""
        await self._of_pid(pid, "WaitStart", pb.EmptyReply, self._request(pid, timeout_s))

    async def wait_exit(self, pid: Tpid, timeout_s: float | None = None, *, peek: bool = False) -> Status:
        """Waits for the end. Collects the status if this client is the parent and does not peek. NotFound for a pid
        that is unknown or collected; Timeout leaves the status for the next wait."""
        if peek or (timeout_s is not None and timeout_s <= 0):
            reply = await self._of_pid(pid, "WaitExit", pb.StatusReply, self._request(pid, timeout_s, peek=peek))
            self._forget(pid, peek)
            return Status.from_pb(reply.status)
        wait = self._exits.get(pid)
        if wait is None:
            wait = self._exits[pid] = asyncio.create_task(self._wait_exit(pid), name=f"wait-exit-{pid}")
            wait.add_done_callback(_noticed)
        if not wait.done():
            await asyncio.wait({wait}, timeout=timeout_s)
        if not wait.done():
            raise serr.Timeout(pid, f"not ended within {timeout_s} s")
        if self._exits.get(pid) is wait:
            del self._exits[pid]
        return Status.from_pb(wait.result().status)

    async def _wait_exit(self, pid: Tpid) -> pb.StatusReply:
        reply = await self._of_pid(pid, "WaitExit", pb.StatusReply, self._request(pid, None))
        self._forget(pid, peek=False)
        return reply

    async def evict(self, pid: Tpid, grace_s: float | None = None) -> None:
        """Asks a proc to end; returns when the schedd has noted it. A queued proc ends evicted. After ``grace_s`` its
        processes are killed. NotFound for a pid that is unknown or collected."""
        request = self._request(pid, None)
        request.grace_s = _FOR_EVER if grace_s is None else max(grace_s, 0.0)
        await self._of_pid(pid, "Evict", pb.EmptyReply, request)

    async def procs(self) -> list[ProcInfo]:
        """What every schedd of the realm has: procs queued and running, and ended ones that nobody collected."""
        found: list[ProcInfo] = []
        for kernel in await self._schedds():
            try:
                reply = await self._call(kernel, "ListProcs", pb.ListProcsRequest(), pb.ListProcsReply)
            except serr.SESSION_ERRORS as error:  # a schedd that is going away has no procs to tell of
                _log(f"procs of {kernel}: {error}")
                continue
            found.extend(ProcInfo.from_pb(info) for info in reply.procs)
        return found

    # -- the proc itself

    async def started(self) -> None:
        """Tells the parent that this proc runs. NotFound outside of a proc."""
        await self._call(self._home, "Started", self._request(self._env.pid, None), pb.EmptyReply)

    async def exited(self, status: Status) -> None:
        """Reports how this proc ends; the first report counts. Closed if it reported before."""
        message = status.to_pb()
        if self._exited or not reports.report(self._env.pid, status):
            raise serr.Closed(self._env.pid, "the proc has exited already")
        self._exited = True
        await self._call(self._home, "Exited", pb.ExitedRequest(pid=self._env.pid, status=message), pb.EmptyReply)

    async def exited_ok(self) -> None:
        """``exited`` with OK."""
        await self.exited(Status.ok())

    async def wait_evict(self, timeout_s: float | None = None) -> None:
        """Returns when this proc is asked to end, at once if it was. Timeout; NotFound outside of a proc."""
        await self._call(self._home, "WaitEvict", self._request(self._env.pid, timeout_s), pb.EmptyReply)

    async def close(self) -> None:
        """Gives up all waits. The channels end with the client's sessions."""
        waits = [wait for wait in self._exits.values() if not wait.done()]
        self._exits.clear()
        for wait in waits:
            wait.cancel()
        if waits:
            await asyncio.wait(waits)

    # -- schedds

    def _request(self, pid: Tpid, timeout_s: float | None, *, peek: bool = False) -> pb.PidRequest:
        limit_s = _FOR_EVER if timeout_s is None else max(timeout_s, 0.0)
        return pb.PidRequest(pid=pid, timeout_s=limit_s, peek=peek, caller_pid=self._env.pid)

    def _forget(self, pid: Tpid, peek: bool) -> None:
        if not peek:
            self._schedd_of.pop(pid, None)

    async def _call(self, kernel: str, method: str, request: Message, reply_class: type[R]) -> R:
        if not self._mounted:
            await self._mount_home()
        channel = self._channels.get(kernel)
        if channel is None:
            channel = self._channels[kernel] = AsyncRPCClnt(self._sc, path.join(SCHEDD, kernel))
        return await channel.rpc(f"Schedd.{method}", request, reply_class)

    async def _mount_home(self) -> None:
        """A proc knows its schedd's endpoint: no walk through named."""
        async with self._mounting:
            if not self._mounted:
                await self._sc.mount_endpoint(path.join(SCHEDD, self._home), self._env.schedd)
                self._mounted = True

    async def _of_pid(self, pid: Tpid, method: str, reply_class: type[R], request: pb.PidRequest) -> R:
        """A call to the schedd that has the pid: the one it was handed to, else whichever knows it."""
        known = self._schedd_of.get(pid)
        try:
            return await self._call(known or self._home, method, request, reply_class)
        except serr.NotFound:
            if known is not None:
                raise
        for kernel in await self._schedds():
            try:
                return await self._call(kernel, method, request, reply_class)
            except (serr.NotFound, *serr.SESSION_ERRORS) as error:  # another one may know it
                _log(f"{method} {pid} at {kernel}: {error}")
        raise serr.NotFound(pid, "no such proc, or its status was collected")

    async def _schedds(self) -> list[str]:
        return [stat.name for stat in await self._sc.get_dir(SCHEDD) if stat.is_endpoint]

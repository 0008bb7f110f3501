"""AsyncProcClnt: a client's procs, through the schedds (X-10 to X-34).

A proc is owned by the schedd that it was handed to: the node's own, or that of a kernel node that it prefers. The
client remembers which; pids of others are looked for at every schedd.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, TypeVar

from google.protobuf.message import Message

from sigmaos_ray import config, debug, serr
from sigmaos_ray.fslib.dircache import AsyncDirCache
from sigmaos_ray.pb import proc_pb2 as pb
from sigmaos_ray.proc import ProcInfo, Status
from sigmaos_ray.procclnt import parking, reports, spawning
from sigmaos_ray.procclnt.exits import Collector, Exits
from sigmaos_ray.procclnt.lookout import Lookout
from sigmaos_ray.procclnt.shipping import Shipping
from sigmaos_ray.rpcclnt import AsyncRPCClnt
from sigmaos_ray.sigmap import LOCAL, SCHEDD, path

if TYPE_CHECKING:
    from sigmaos_ray.fslib import AsyncFsLib
    from sigmaos_ray.proc import Proc, Tpid

_log = debug.selector("PROCCLNT")
_lat = debug.selector("SPAWN_LAT")

R = TypeVar("R", bound=Message)

# Not 0, which is a time-out like others: it looks once.
_FOR_EVER = -1.0
_WAITS = frozenset({"WaitStart", "WaitExit"})
"""For other procs. That a proc waits for its own eviction ends with its schedd by itself: Ray ends the proc."""


class AsyncProcClnt:
    """The procs of one client. Used from the client's loop; ``close`` before the client is closed."""

    def __init__(self, sc: AsyncFsLib) -> None:
        self._sc = sc
        self._env = sc.proc_env
        # A client outside of procs has no schedd of its own: it takes that of its kernel node. One whose machine has no
        # kernel node takes one schedd and stays with it: its procs are known there, and at no other.
        self._home = self._env.schedd_id or LOCAL
        self._is_homeless = not self._env.schedd_id and not self._env.kernel_id
        self._channels: dict[str, AsyncRPCClnt] = {}
        self._schedd_of: dict[Tpid, str] = {}
        self._limits = config.current().procs
        self._exits = Exits(self._limits)
        self._lookout = Lookout(AsyncDirCache(sc, SCHEDD), self._limits, self._abandon)
        self._collector = Collector(self._collect, self._limits)
        self._shipping = Shipping(self, self._env, self._limits)
        self._mounting = asyncio.Lock()
        self._mounted = not self._env.schedd.addrs
        self._exited = False

    # -- parents

    async def spawn(self, proc: Proc) -> Tpid:
        """Hands a proc to a schedd; returns its pid. Queued, not started. Exists if the pid is in use, Closed after
        ``exited``, NotFound if no preferred kernel node is there."""
        if self._exited:
            raise serr.Closed(proc.pid, "the proc has exited, and cannot spawn")
        began_s = time.perf_counter()
        spec = spawning.child_spec(proc, self._env)
        if "/~local/" in spec.program:  # the parent's, wherever the proc runs
            with contextlib.suppress(serr.SigmaError):  # its status will say so
                spec.program = await self._sc.resolve_unions(spec.program)
        kernel = await self._choose(proc)
        spec.package = await self._shipping.package_for(proc, kernel)
        try:
            return await self._hand_over(proc, spec, kernel, began_s)
        except serr.Version:
            if not spec.package or self._env.package:
                raise
        # The schedd has lost the package; nothing was spawned.
        self._shipping.forget(kernel)
        spec.package = await self._shipping.package_for(proc, kernel)
        return await self._hand_over(proc, spec, kernel, began_s)

    async def _hand_over(self, proc: Proc, spec: pb.ProcSpec, kernel: str, began_s: float) -> Tpid:
        await self._collector.before(proc.pid)
        # The wait for the end leaves in one message with the spawn: short procs are over before another one could be
        # sent. Only where calls keep their order, or the schedd would hear of the wait before it has the proc.
        ahead = self._is_open(kernel)
        if ahead:
            self._exits.expect(proc.pid, lambda: self._exit_ahead(kernel, proc.pid))
        try:
            await self._spawn(kernel, spec)
        except BaseException:
            if ahead:
                self._exits.unexpect(proc.pid)
            raise
        # Only now: a pid in this table is taken for a proc that this client spawned, and may collect.
        self._schedd_of[proc.pid] = kernel
        _log(f"spawned {proc.pid}")
        if _lat.on:
            took_ms = (time.perf_counter() - began_s) * 1e3
            _lat(f"{proc.pid} {proc.program}: client {took_ms:.3f} ms until the schedd had it")
        return proc.pid

    async def _spawn(self, kernel: str, spec: pb.ProcSpec) -> None:
        try:
            reply = await self._call(kernel, "Spawn", pb.SpawnRequest(proc=spec), pb.SpawnReply)
            self._lookout.leads_to(kernel, reply.kernel_id)
        except serr.IOErr:
            # Sent, fate unknown. Not again: a schedd that took the place of a dead one would run the proc twice.
            if not await self._has(kernel, spec.pid):
                raise

    async def _has(self, kernel: str, pid: Tpid) -> bool:
        """Whether the schedd that answers now knows a proc."""
        try:
            await self._call(kernel, "WaitStart", self._request(pid, 0.0), pb.EmptyReply)
        except serr.Timeout:  # it has not started
            return True
        except (serr.NotFound, *serr.SESSION_ERRORS):
            return False
        return True

    async def _choose(self, proc: Proc) -> str:
        """The kernel node whose schedd gets the proc (X-33)."""
        if not proc.kernels:
            return await self._home_now()
        alive = await self._schedds()
        fitting = [kernel for kernel in proc.kernels if kernel in alive]
        if not fitting:
            raise serr.NotFound(proc.pid, f"none of the kernel nodes {', '.join(proc.kernels)} is there")
        return spawning.pick(fitting)

    async def wait_start(self, pid: Tpid, timeout_s: float | None = None) -> None:
        """Returns when the proc said that it started, or ended before it could. NotFound for an unknown pid."""
        try:
            with parking.waiting():
                await self._of_pid(pid, "WaitStart", pb.EmptyReply, self._request(pid, timeout_s))
        except (serr.NotFound, *serr.SESSION_ERRORS):
            kernel = self._schedd_of.get(pid)
            if kernel is None or not await self._is_lost(kernel):
                raise
            _log(f"{pid} was lost with its kernel node {kernel}")  # wait_exit tells

    async def wait_exit(self, pid: Tpid, timeout_s: float | None = None, *, peek: bool = False) -> Status:
        """Waits for the end. Collects the status if this client is the parent and does not peek. NotFound for a pid
        that is unknown or collected; Timeout leaves the status for the next wait."""
        # These ask the schedd itself, which still shows for a moment what was taken here.
        if peek or (timeout_s is not None and timeout_s <= 0):
            await self._collector.now()
            with parking.waiting():
                reply = await self._exit_of(pid, self._request(pid, timeout_s, peek=peek))
            if not peek:
                self._exits.unexpect(pid)
                self._schedd_of.pop(pid, None)
            return Status.from_pb(reply.status)
        with parking.waiting():
            reply, is_first = await self._exits.wait(pid, lambda: self._wait_exit(pid), timeout_s)
        # None for a proc of another client: its status was collected by the call itself, not peeked at.
        kernel = self._schedd_of.pop(pid, None)
        if is_first and kernel is not None:
            self._collector.taken(kernel, pid)
        return Status.from_pb(reply.status)

    async def _wait_exit(self, pid: Tpid) -> pb.StatusReply:
        """The end of a proc, once it is there. For one that this client spawned it peeks, and ``Collector`` collects
        later: a reply that is lost on the way can then be asked for again, where a collected status would be gone."""
        await self._collector.now()
        return await self._exit_of(pid, self._request(pid, None, peek=pid in self._schedd_of))

    async def _exit_ahead(self, kernel: str, pid: Tpid) -> pb.StatusReply:
        """The end of a proc that is about to be spawned there."""
        look = self._request(pid, None, peek=True)
        try:
            return await self._call(kernel, "WaitExit", look, pb.StatusReply)
        except serr.SESSION_ERRORS:
            if pid not in self._schedd_of:  # nor was it spawned
                raise
        return await self._exit_of(pid, look)

    async def _exit_of(self, pid: Tpid, request: pb.PidRequest) -> pb.StatusReply:
        """The schedd's answer. A proc is lost with the kernel node that it was handed to, which is a crash (X-28)."""
        kernel = self._schedd_of.get(pid)
        while True:
            try:
                return await self._of_pid(pid, "WaitExit", pb.StatusReply, request)
            except (serr.NotFound, *serr.SESSION_ERRORS) as error:
                if kernel is None:
                    raise
                # Its name goes with its kernel node. While the name is there the node may be restarting its schedd, or
                # the connection alone was lost: then the proc may live, and this waits on.
                if await self._is_lost(kernel):
                    lost = Status.crash(f"node lost: kernel node {self._lookout.kernel_of(kernel)} is gone")
                    return pb.StatusReply(status=lost.to_pb())
                # A schedd of that name is there and does not know the pid: no waiting helps.
                if (kernel == self._home and not self._is_homeless) or isinstance(error, serr.NotFound):
                    raise
            await asyncio.sleep(self._limits.look_again_s)

    async def _is_lost(self, kernel: str) -> bool:
        """Whether a schedd's kernel node is gone, as far as names tell. Never a proc's own."""
        kernel_id = self._lookout.kernel_of(kernel)
        return kernel_id not in (LOCAL, self._env.kernel_id) and kernel_id not in await self._schedds()

    async def _collect(self, kernel: str, pids: list[Tpid]) -> None:
        request = pb.CollectRequest(pids=pids, caller_pid=self._env.pid)
        await self._call(kernel, "Collect", request, pb.EmptyReply)

    async def evict(self, pid: Tpid, grace_s: float | None = None) -> None:
        """Asks a proc to end; returns when the schedd has noted it. A queued proc ends evicted. After ``grace_s`` its
        processes are killed. NotFound for a pid that is unknown or collected."""
        # A proc whose status was taken is NotFound here, also in the moment before its schedd has forgotten it.
        await self._collector.now()
        request = self._request(pid, None)
        request.grace_s = _FOR_EVER if grace_s is None else max(grace_s, 0.0)
        await self._of_pid(pid, "Evict", pb.EmptyReply, request)

    async def procs(self) -> list[ProcInfo]:
        """What every schedd of the realm has: procs queued and running, and ended ones that nobody collected. Leaves
        out a schedd that does not answer."""
        await self._collector.now()
        listed = await asyncio.gather(*(self._procs_of(kernel) for kernel in await self._schedds()))
        return [info for infos in listed for info in infos]

    async def _procs_of(self, kernel: str) -> list[ProcInfo]:
        try:
            async with asyncio.timeout(self._limits.list_timeout_s):
                reply = await self._call(kernel, "ListProcs", pb.ListProcsRequest(), pb.ListProcsReply)
        # A schedd that is going away has no procs to tell of; a host that fell silent may keep its name for a while.
        except (TimeoutError, serr.NotFound, *serr.SESSION_ERRORS) as error:
            _log(f"procs of {kernel}: {error}")
            return []
        return [ProcInfo.from_pb(info) for info in reply.procs]

    # -- the proc itself

    async def started(self) -> None:
        """Tells the parent that this proc runs. NotFound outside of a proc."""
        await self._call(self._home, "Started", self._request(self._env.pid, None), pb.EmptyReply)

    async def exited(self, status: Status) -> None:
        """Reports how this proc ends; the first report counts. Closed if it reported before."""
        message = status.to_pb()
        # Kept in this process before it is sent: if the message is lost, the runner still has the status.
        if self._exited or not reports.report(self._env.pid, status):
            raise serr.Closed(self._env.pid, "the proc has exited already")
        self._exited = True
        await self._call(self._home, "Exited", pb.ExitedRequest(pid=self._env.pid, status=message), pb.EmptyReply)

    async def exited_ok(self) -> None:
        """``exited`` with OK."""
        await self.exited(Status.ok())

    async def wait_evict(self, timeout_s: float | None = None) -> None:
        """Returns when this proc is asked to end, at once if it was. Timeout; NotFound outside of a proc."""
        with parking.waiting():
            await self._call(self._home, "WaitEvict", self._request(self._env.pid, timeout_s), pb.EmptyReply)

    async def close(self) -> None:
        """Gives up all waits. The channels end with the client's sessions."""
        await self._collector.close()
        await self._exits.close()
        await self._shipping.close()
        await self._lookout.close()

    # -- schedds

    async def wants_package(self, kernel: str, folder: str, machine_id: str) -> bool:
        """For ``Shipping``."""
        request = pb.PackageRequest(folder=folder, machine=machine_id)
        return (await self._call(kernel, "Package", request, pb.PackageReply)).is_wanted

    async def put_package(self, kernel: str, data: bytes) -> str:
        """For ``Shipping``."""
        request = pb.PutPackageRequest(data=data)
        return (await self._call(kernel, "PutPackage", request, pb.PutPackageReply)).package

    def _request(self, pid: Tpid, timeout_s: float | None, *, peek: bool = False) -> pb.PidRequest:
        limit_s = _FOR_EVER if timeout_s is None else max(timeout_s, 0.0)
        return pb.PidRequest(pid=pid, timeout_s=limit_s, peek=peek, caller_pid=self._env.pid)

    async def _home_now(self) -> str:
        """The schedd that this client's procs go to."""
        if not self._is_homeless:
            return self._home
        if self._home == LOCAL or not (self._is_open(self._home) or self._home in await self._schedds()):
            self._home = path.split(await self._sc.resolve_unions(path.join(SCHEDD, LOCAL)))[-1]
        return self._home

    def _is_open(self, kernel: str) -> bool:
        """Whether a call to this schedd is sent at once, and so in the order of the calls."""
        channel = self._channels.get(kernel)
        return self._mounted and channel is not None and channel.is_open

    async def _call(self, kernel: str, method: str, request: Message, reply_class: type[R]) -> R:
        if not self._mounted:
            await self._mount_home()
        channel = self._channels.get(kernel)
        if channel is None:
            channel = self._channels[kernel] = AsyncRPCClnt(self._sc, path.join(SCHEDD, kernel))
        if method not in _WAITS:
            return await channel.rpc(f"Schedd.{method}", request, reply_class)
        with self._lookout.calling(kernel):
            return await channel.rpc(f"Schedd.{method}", request, reply_class)

    def _abandon(self, kernel: str, why: str) -> None:
        channel = self._channels.get(kernel)
        if channel is not None:
            channel.abandon(why)

    async def _mount_home(self) -> None:
        """A proc knows its schedd's endpoint: no walk through named."""
        async with self._mounting:
            if not self._mounted:
                await self._sc.mount_endpoint(path.join(SCHEDD, self._home), self._env.schedd)
                self._mounted = True

    async def _of_pid(self, pid: Tpid, method: str, reply_class: type[R], request: pb.PidRequest) -> R:
        """A call to the schedd that has the pid: the one it was handed to, else whichever knows it."""
        owner = self._schedd_of.get(pid)
        try:
            return await self._call(owner or self._home, method, request, reply_class)
        except serr.NotFound:
            if owner is not None:
                raise
        for kernel in await self._schedds():
            try:
                return await self._call(kernel, method, request, reply_class)
            except (serr.NotFound, *serr.SESSION_ERRORS) as error:  # another one may know it
                _log(f"{method} {pid} at {kernel}: {error}")
        raise serr.NotFound(pid, "no such proc, or its status was collected")

    async def _schedds(self) -> list[str]:
        return [stat.name for stat in await self._sc.get_dir(SCHEDD) if stat.is_endpoint]

"""AsyncProcClnt: a client's procs, through the schedds (X-10 to X-34).

A proc is owned by the schedd that it was handed to: that of its spawner's node, or of a kernel node that it prefers.
The client remembers which; pids of others are looked for at every schedd.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from google.protobuf.message import Message

from sigmaos_ray import config, debug, serr
from sigmaos_ray.fslib.dircache import AsyncDirCache
from sigmaos_ray.pb import proc_pb2 as pb
from sigmaos_ray.proc import ProcInfo, Status
from sigmaos_ray.procclnt import lease, parking, reports, spawning
from sigmaos_ray.procclnt.completed import Ends
from sigmaos_ray.procclnt.exits import Collector, Exits, noticed
from sigmaos_ray.procclnt.lookout import Lookout
from sigmaos_ray.procclnt.placing import Placing
from sigmaos_ray.procclnt.shipping import Shipping
from sigmaos_ray.procclnt.spawning import Load
from sigmaos_ray.procclnt.taken import Taken
from sigmaos_ray.rpcclnt import AsyncRPCClnt
from sigmaos_ray.sessp import wire
from sigmaos_ray.sessp.aside import is_direct, leave_if_direct
from sigmaos_ray.sigmap import LOCAL, SCHEDD, path

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence

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
        self._near = (self._env.schedd_id and self._env.kernel_id) or self._home
        """The schedd of the node where this is: another one's than ``_home``, if Ray placed the proc elsewhere."""
        self._is_homeless = not self._env.schedd_id and not self._env.kernel_id
        self._channels: dict[str, AsyncRPCClnt] = {}
        self._schedd_of: dict[Tpid, str] = {}
        self._of_threads: set[Tpid] = set()
        """Those of it that threads spawned by themselves, and nobody waits for on the loop yet."""
        self.taken = Taken()
        self._limits = config.current().procs
        self._exits = Exits(self._limits)
        self._lookout = Lookout(AsyncDirCache(sc, SCHEDD), self._limits, self._abandon)
        self._collector = Collector(self._collect, self._limits)
        self._shipping = Shipping(self, self._env, self._limits)
        self._placing = Placing(self._near_now, self._schedds, self._load_of, self._limits)
        self._chans: set[asyncio.Task[Status]] = set()
        self._mounting = asyncio.Lock()
        self._mounted = not self._env.schedd.addrs
        self._exited = False

    # -- parents

    async def spawn(self, proc: Proc) -> Tpid:
        """Hands a proc to a schedd; returns its pid. Queued, not started. Exists if the pid is in use, Closed after
        ``exited``, NotFound if no preferred kernel node is there."""
        began_s = time.perf_counter()
        self._check_may_spawn(proc)
        kernel = await self._placing.choose(proc)
        try:
            await self._hand_over(kernel, proc)
        except (serr.Unreachable, serr.NotFound):
            # Nothing was spawned. boot may not have made the schedd of this node yet, or not again.
            if proc.kernels or self._near == self._home:
                raise
            await self._hand_over(self._home, proc)
        _log(f"spawned {proc.pid}")
        if _lat.on:
            took_ms = (time.perf_counter() - began_s) * 1e3
            _lat(f"{proc.pid} {proc.program}: client {took_ms:.3f} ms until the schedd had it")
        return proc.pid

    # -- for threads that spawn and wait by themselves: ``ThreadCalls``

    @property
    def pid(self) -> Tpid:
        return self._env.pid

    def plain_home(self, proc: Proc) -> str | None:
        """The schedd that a proc goes to, where nothing has to be asked for that; None otherwise. Closed after
        ``exited``."""
        self._check_may_spawn(proc)
        if proc.kernels or self._is_homeless or "/~local/" in proc.program or self._collector.is_untold(proc.pid):
            return None
        return self._near if self._shipping.known_package_for(proc, self._near) is not None else None

    def plain_spec(self, proc: Proc) -> pb.ProcSpec:
        """What that schedd gets."""
        spec = spawning.child_spec(proc, self._env)
        spec.package = self._shipping.known_package_for(proc, self._near) or ""
        return spec

    def open_rpc(self, kernel: str) -> AsyncRPCClnt | None:
        """None if a call would first have to open it."""
        return self._channels[kernel] if self._is_open(kernel) else None

    def spawned_by_thread(self, pid: Tpid, kernel: str) -> None:
        self._schedd_of[pid] = kernel
        self._of_threads.add(pid)

    def schedd_of_threads_proc(self, pid: Tpid) -> str | None:
        """None for a proc that the loop has to do with."""
        return self._schedd_of.get(pid) if pid in self._of_threads else None

    def taken_by_thread(self, pid: Tpid) -> bool:
        """Whether this is the first to get its status."""
        self._of_threads.discard(pid)
        return self._schedd_of.pop(pid, None) is not None

    def tell_taken(self, kernel: str, pids: list[Tpid]) -> None:
        """A schedd is to forget these soon."""
        rpc = self._channels.get(kernel)
        channel = rpc.channel if rpc is not None else None
        # Without a channel there is no session: the schedd, or its word on these procs, is gone.
        if channel is not None and self.taken.add(kernel, pids):
            channel.fid.session.on_loop(self._watch_taken)

    def _watch_taken(self) -> None:
        asyncio.get_running_loop().call_later(self._limits.taken_pause_s, self._tell_taken)

    def _tell_taken(self) -> None:
        self._collector.taken_by_threads(self.taken.all())

    async def _collected(self) -> None:
        """Returns when schedds have forgotten what was taken: for calls that would show it."""
        self._tell_taken()
        await self._collector.now()

    def _check_may_spawn(self, proc: Proc) -> None:
        if self._exited:
            raise serr.Closed(proc.pid, "the proc has exited, and cannot spawn")

    async def _spec_for(self, kernel: str, proc: Proc) -> pb.ProcSpec:
        """What a schedd gets, which has the proc's package by then."""
        spec = spawning.child_spec(proc, self._env)
        if "/~local/" in spec.program:  # the parent's, wherever the proc runs
            with contextlib.suppress(serr.SigmaError):  # its status will say so
                spec.program = await self._sc.resolve_unions(spec.program)
        spec.package = await self._shipping.package_for(proc, kernel)
        return spec

    async def _hand_over(self, kernel: str, proc: Proc) -> None:
        spec = await self._spec_for(kernel, proc)
        try:
            await self._hand_over_once(kernel, spec)
            return
        except serr.Version:
            if not self._ships(spec):
                raise
        # The schedd has lost the package; nothing was spawned.
        self._shipping.forget(kernel)
        await self._hand_over_once(kernel, await self._spec_for(kernel, proc))

    def _ships(self, spec: pb.ProcSpec) -> bool:
        """Whether the proc's package is this client's to put; otherwise it is the one that this proc came in."""
        return bool(spec.package) and not self._env.package

    async def _hand_over_once(self, kernel: str, spec: pb.ProcSpec) -> None:
        self._tell_taken()
        await self._collector.before(spec.pid)
        with self._expecting(kernel, [spec.pid]):
            await self._spawn(kernel, spec)
        # Only now: a pid in this table is taken for a proc that this client spawned, and may collect.
        self._schedd_of[spec.pid] = kernel

    @contextlib.contextmanager
    def _expecting(self, kernel: str, pids: Sequence[Tpid]) -> Iterator[None]:
        """Around a spawn: the waits for the ends leave in one message with it, as short procs are over before another
        one could be sent. Only where calls keep their order, or the schedd would hear of a wait before it has the
        proc."""
        if not self._is_open(kernel):
            yield
            return
        for pid in pids:
            self._exits.expect(pid, partial(self._exit_ahead, kernel, pid))
        try:
            yield
        except BaseException:
            for pid in pids:
                self._exits.unexpect(pid)
            raise

    async def _spawn(self, kernel: str, spec: pb.ProcSpec) -> None:
        try:
            reply = await self._call(kernel, "Spawn", pb.SpawnRequest(proc=spec), pb.SpawnReply)
            self._lookout.leads_to(kernel, reply.kernel_id)
        except serr.IOErr:
            # Sent, fate unknown. Not again: a schedd that took the place of a dead one would run the proc twice.
            if not await self.has(kernel, spec.pid):
                raise

    async def has(self, kernel: str, pid: Tpid) -> bool:
        """Whether the schedd that answers now knows a proc."""
        try:
            await self._call(kernel, "WaitStart", self._request(pid, 0.0), pb.EmptyReply)
        except serr.Timeout:  # it has not started
            return True
        except (serr.NotFound, *serr.SESSION_ERRORS):
            return False
        return True

    async def spawn_burst(
        self, procs: Sequence[Proc], procs_per_schedd: int = 1
    ) -> tuple[list[Proc], list[serr.SigmaError]]:
        """Spawns several procs, in few messages. Those that prefer no kernel node go to all schedds in turns,
        ``procs_per_schedd`` to each. Returns those that were not spawned, and why not: an error for each, as ``spawn``
        raises it. Closed after ``exited``."""
        if procs_per_schedd < 1:
            raise serr.Inval("procs_per_schedd", f"{procs_per_schedd}: 1 at least")
        for proc in procs:
            self._check_may_spawn(proc)
        errors: dict[int, serr.SigmaError] = {}
        batches: dict[str, dict[int, Proc]] = {}
        for number, place in enumerate(await self._placing.spread(procs, procs_per_schedd)):
            if isinstance(place, serr.SigmaError):
                errors[number] = place
            else:
                batches.setdefault(place, {})[number] = procs[number]

        async def hand_over(kernel: str, batch: Mapping[int, Proc]) -> None:
            errors.update(await self._hand_over_all(kernel, batch))

        async with asyncio.TaskGroup() as group:
            for kernel, batch in batches.items():
                for part in _parts_of(batch, self._limits.burst_procs_max):
                    group.create_task(hand_over(kernel, part))
        refused = sorted(errors)
        return [procs[number] for number in refused], [errors[number] for number in refused]

    async def _hand_over_all(self, kernel: str, procs: Mapping[int, Proc]) -> dict[int, serr.SigmaError]:
        """In one message; returns why some of them were not spawned."""
        specs, errors = await self._specs_for(kernel, procs)
        try:
            refused = await self._spawn_all(kernel, specs)
        except serr.SigmaError as error:
            refused = dict.fromkeys(specs, error)
        for number in specs.keys() - refused.keys():
            self._schedd_of[procs[number].pid] = kernel
        for number, reason in refused.items():
            if isinstance(reason, serr.Version) and self._ships(specs[number]):
                try:
                    await self._hand_over(kernel, procs[number])
                except serr.SigmaError as again:
                    errors[number] = again
            else:
                errors[number] = reason
        return errors

    async def _specs_for(
        self, kernel: str, procs: Mapping[int, Proc]
    ) -> tuple[dict[int, pb.ProcSpec], dict[int, serr.SigmaError]]:
        """What the schedd gets, and why some cannot be sent."""
        specs: dict[int, pb.ProcSpec] = {}
        errors: dict[int, serr.SigmaError] = {}
        for number, proc in procs.items():
            try:
                specs[number] = await self._spec_for(kernel, proc)
                self._tell_taken()
                await self._collector.before(proc.pid)
            except serr.SigmaError as error:
                errors[number] = error
        return specs, errors

    async def _spawn_all(self, kernel: str, specs: Mapping[int, pb.ProcSpec]) -> dict[int, serr.SigmaError]:
        """Returns those that were refused."""
        numbers, request = list(specs), pb.SpawnBurstRequest(procs=specs.values())
        try:
            with self._expecting(kernel, [spec.pid for spec in specs.values()]):
                reply = await self._call(kernel, "SpawnBurst", request, pb.SpawnBurstReply)
        except serr.IOErr as error:  # sent, fate unknown, as in _spawn
            return {number: error for number, spec in specs.items() if not await self.has(kernel, spec.pid)}
        self._lookout.leads_to(kernel, reply.kernel_id or kernel)
        refused = {numbers[refusal.index]: wire.error_from_pb(refusal.error) for refusal in reply.refused}
        for number in refused:
            self._exits.unexpect(specs[number].pid)
        return refused

    async def _load_of(self, kernel: str) -> Load:
        return Load.from_pb(await self._call(kernel, "Load", pb.LoadRequest(), pb.LoadReply))

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
            await self._collected()
            with parking.waiting():
                reply = await self._exit_of(pid, self._request(pid, timeout_s, peek=peek))
            if not peek:
                self._exits.unexpect(pid)
                self._schedd_of.pop(pid, None)
            return Status.from_pb(reply.status)
        with parking.waiting():
            reply, is_first = await self._exits.wait(pid, partial(self._wait_exit, pid), timeout_s)
        return self._taken(pid, reply, is_first)

    def as_completed(self, pids: Iterable[Tpid], timeout_s: float | None = None) -> AsyncIterator[tuple[Tpid, Status]]:
        """Pids and statuses of procs as they end, each pid once; what is told is collected, as by ``wait_exit``, the
        rest is left. Timeout ``timeout_s`` after this call, if some have not ended; for a proc that cannot be waited
        for the error that ``wait_exit`` raises."""
        if timeout_s is not None and timeout_s <= 0:
            return self._ended_by_now(pids)
        ends = Ends(pids, lambda pid: self._exits.under_way(pid, partial(self._wait_exit, pid)), self._limits.ends_max)
        return self._each_end(ends, None if timeout_s is None else time.monotonic() + timeout_s)

    async def _each_end(self, ends: Ends, ends_s: float | None) -> AsyncIterator[tuple[Tpid, Status]]:
        while ends:
            with parking.waiting():
                pid, wait = await ends.next(None if ends_s is None else ends_s - time.monotonic())
            yield pid, self._taken(pid, *self._exits.take(pid, wait))

    async def _ended_by_now(self, pids: Iterable[Tpid]) -> AsyncIterator[tuple[Tpid, Status]]:
        late: serr.Timeout | None = None
        for pid in dict.fromkeys(pids):
            try:
                status = await self.wait_exit(pid, 0)
            except serr.Timeout as error:
                late = late or error
                continue
            yield pid, status
        if late is not None:
            raise late

    def _taken(self, pid: Tpid, reply: pb.StatusReply, is_first: bool) -> Status:
        """The status of a proc that a wait got, which its schedd may forget then."""
        # None for a proc of another client: its status was collected by the call itself, not peeked at.
        kernel = self._schedd_of.pop(pid, None)
        if is_first and kernel is not None:
            self._collector.taken(kernel, pid)
        return Status.from_pb(reply.status)

    def wait_exit_chan(self, pid: Tpid = "") -> asyncio.Future[Status]:
        """A future that gets a proc's status, as ``wait_exit`` returns it. Without a pid it is about this proc: it gets
        ``Status.evicted()`` once the proc is asked to end. Cancelled when the client is closed."""
        chan = asyncio.create_task(self.wait_exit(pid) if pid else self._evicted(), name=f"wait-exit-chan-{pid}")
        self._chans.add(chan)
        chan.add_done_callback(self._chans.discard)
        chan.add_done_callback(noticed)
        return chan

    async def _evicted(self) -> Status:
        await self.wait_evict()
        return Status.evicted()

    async def _wait_exit(self, pid: Tpid) -> pb.StatusReply:
        """The end of a proc, once it is there. For one that this client spawned it peeks, and ``Collector`` collects
        later: a reply that is lost on the way can then be asked for again, where a collected status would be gone."""
        await self._collected()
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
        own = self._env.schedd_id or self._env.kernel_id
        return kernel_id not in (LOCAL, own) and kernel_id not in await self._schedds()

    async def _collect(self, kernel: str, pids: list[Tpid]) -> None:
        request = pb.CollectRequest(pids=pids, caller_pid=self._env.pid)
        await self._call(kernel, "Collect", request, pb.EmptyReply)

    async def evict(self, pid: Tpid, grace_s: float | None = None) -> None:
        """Asks a proc to end; returns when the schedd has noted it. A queued proc ends evicted. After ``grace_s`` its
        processes are killed. NotFound for a pid that is unknown or collected."""
        # A proc whose status was taken is NotFound here, also in the moment before its schedd has forgotten it.
        await self._collected()
        request = self._request(pid, None)
        request.grace_s = _FOR_EVER if grace_s is None else max(grace_s, 0.0)
        await self._of_pid(pid, "Evict", pb.EmptyReply, request)

    async def procs(self) -> list[ProcInfo]:
        """What every schedd of the realm has: procs queued and running, and ended ones that nobody collected. Leaves
        out a schedd that does not answer."""
        await self._collected()
        request, nothing = pb.ListProcsRequest(), pb.ListProcsReply()
        asked = (self._answer(kernel, "ListProcs", request, nothing) for kernel in await self._schedds())
        return [ProcInfo.from_pb(info) for reply in await asyncio.gather(*asked) for info in reply.procs]

    async def get_children(self) -> list[Tpid]:
        """The pids of this client's procs, of a proc's all, that run, wait, or were not collected. Leaves out a schedd
        that does not answer."""
        await self._collected()
        request = pb.ChildrenRequest(parent_pid=self._env.pid)
        asked = (self._answer(kernel, "Children", request, pb.ChildrenReply()) for kernel in await self._schedds())
        return [pid for reply in await asyncio.gather(*asked) for pid in reply.pids]

    async def _answer(self, kernel: str, method: str, request: Message, nothing: R) -> R:
        """What a schedd answers at once; ``nothing`` if it does not."""
        try:
            async with asyncio.timeout(self._limits.list_timeout_s):
                return await self._call(kernel, method, request, type(nothing))
        # A schedd that is going away has no procs to tell of; a host that fell silent may keep its name for a while.
        except (TimeoutError, serr.NotFound, *serr.SESSION_ERRORS) as error:
            _log(f"{method} of {kernel}: {error}")
            return nothing

    # -- the proc itself

    # A proc says these to its lease, or to the worker that runs it, in the thread that makes the call; in programs that
    # it has executed its schedd is told.

    async def started(self) -> None:
        """Tells the parent that this proc runs. NotFound outside of a proc."""
        hearer = lease.hearer_of(self._env.pid)
        if hearer is not None:
            hearer.send(lease.STARTED)
            return
        leave_if_direct()
        await self._call(self._home, "Started", self._request(self._env.pid, None), pb.EmptyReply)

    async def exited(self, status: Status) -> None:
        """Reports how this proc ends; the first report counts. Closed if it reported before."""
        message = status.to_pb()
        hearer = lease.hearer_of(self._env.pid)
        if hearer is None:
            leave_if_direct()
        # Kept in this process before it is sent: if the message is lost, the runner still has the status.
        if self._exited or not reports.report(self._env.pid, status):
            raise serr.Closed(self._env.pid, "the proc has exited already")
        self._exited = True
        if hearer is not None:
            hearer.send(pb.ProcWord(reported=message))
            return
        await self._call(self._home, "Exited", pb.ExitedRequest(pid=self._env.pid, status=message), pb.EmptyReply)

    async def exited_ok(self) -> None:
        """``exited`` with OK."""
        await self.exited(Status.ok())

    async def wait_evict(self, timeout_s: float | None = None) -> None:
        """Returns when this proc is asked to end, at once if it was. Timeout; NotFound outside of a proc."""
        own = lease.installed()
        if own is not None and own.pid == self._env.pid:
            if is_direct():
                own.wait_evict(timeout_s)
            else:
                await own.wait_evict_async(timeout_s)
            return
        leave_if_direct()
        with parking.waiting():
            await self._call(self._home, "WaitEvict", self._request(self._env.pid, timeout_s), pb.EmptyReply)

    async def close(self) -> None:
        """Gives up all waits. The channels end with the client's sessions."""
        chans = set(self._chans)
        for chan in chans:
            chan.cancel()
        if chans:
            await asyncio.wait(chans)
        self._tell_taken()
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
        serr.check_utf8("pid", pid)
        limit_s = _FOR_EVER if timeout_s is None else max(timeout_s, 0.0)
        return pb.PidRequest(pid=pid, timeout_s=limit_s, peek=peek, caller_pid=self._env.pid)

    async def _near_now(self) -> str:
        """The schedd that this client's procs go to."""
        if not self._is_homeless:
            return self._near
        if self._home == LOCAL or not (self._is_open(self._home) or self._home in await self._schedds()):
            self._home = self._near = path.split(await self._sc.resolve_unions(path.join(SCHEDD, LOCAL)))[-1]
        return self._near

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


def _parts_of(procs: Mapping[int, Proc], size: int) -> Iterator[dict[int, Proc]]:
    left = iter(procs.items())
    while part := dict(itertools.islice(left, size)):
        yield part

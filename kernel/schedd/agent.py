"""A lease, in its worker: takes procs from the schedd one after another, has them run, and tells what becomes of them.

On the worker's loop thread. The worker's main thread belongs to Ray: it waits for orders, to wait in Ray on a proc's
behalf, or to run a proc that may use the worker's own process.
"""

from __future__ import annotations

import asyncio
import contextlib
from queue import SimpleQueue
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import msgspec
from google.protobuf.message import Message

from kernel.raylib import timeline
from kernel.schedd import memory
from sigmaos_ray import config, debug, serr
from sigmaos_ray.fslib import AsyncFsLib
from sigmaos_ray.pb import proc_pb2 as pb
from sigmaos_ray.rpcclnt import AsyncRPCClnt
from sigmaos_ray.runner.redirect import keep_log
from sigmaos_ray.sigmap import SCHEDD, path

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any

    from kernel.schedd.begun import BegunRecord
    from kernel.schedd.places import Runner
    from sigmaos_ray.config import ProcEnv
    from sigmaos_ray.runner.procprocess import ProcProcess
    from sigmaos_ray.runner.templates import Templates

_log = debug.selector("RUNNER")

R = TypeVar("R", bound=Message)


class Park(msgspec.Struct, frozen=True):
    """Wait in Ray for the end of a proc's wait: its core is lent to others meanwhile."""

    number: int
    wait: int


class TimelineSpan(msgspec.Struct, frozen=True):
    """A proc runs in a process of its own, until the next of these: for Ray's timeline."""

    spec: pb.ProcSpec
    os_pid: int = 0
    """0: it has ended."""


class RunHere(msgspec.Struct, frozen=True):
    """Run a proc in this very process, and those that the lease gets next of its kind."""

    serving: ServedLease
    first: pb.LeaseNextReply
    upcoming: asyncio.Future[pb.LeaseNextReply]

    def end(self, got: pb.LeaseNextReply) -> None:
        """On the loop: what the lease got that is not of its kind."""
        if not self.upcoming.done():
            self.upcoming.set_result(got)

    def fail(self, error: serr.SigmaError) -> None:
        """On the loop: the schedd cannot be asked."""
        if not self.upcoming.done():
            self.upcoming.set_exception(error)


class LeaseOver(msgspec.Struct, frozen=True):
    """Return to Ray."""


Order: TypeAlias = Park | TimelineSpan | RunHere | LeaseOver


class LeaseAgent:
    """The leases of one worker, one at a time. ``serve`` once for each; all on one loop."""

    def __init__(self, instance: ProcEnv, templates: Templates, begun: BegunRecord, log_dir: str) -> None:
        """``instance``: the schedd's own word of where it is, and of what its procs are told. ``begun``: this
        process's."""
        self._begun = begun
        self.log_dir = log_dir
        self._schedd_id = instance.schedd_id
        self._schedd_endpoint = instance.schedd
        self.fs = AsyncFsLib(msgspec.structs.replace(instance, pid=f"lease-{instance.schedd_id}"))
        self._rpc: AsyncRPCClnt | None = None
        self._templates = templates
        self.orders: SimpleQueue[Order] = SimpleQueue()

    async def serve(self, lease_id: str, runner: Runner, instance: ProcEnv) -> None:
        """Takes procs until the schedd says that the lease is over. ``instance``: what procs here are told. Session
        errors if the schedd is gone."""
        # Of those that run here the worker speaks for each; the others have credentials of their own.
        told = msgspec.structs.replace(instance, token="")
        serving = ServedLease(self, lease_id, runner, msgspec.json.encode(told))
        try:
            await serving.run()
        finally:
            self.orders.put(LeaseOver())

    @property
    def rpc(self) -> AsyncRPCClnt:
        """To the schedd, for the main thread; there once a lease got a proc."""
        assert self._rpc is not None, "no call was made yet"
        return self._rpc

    async def call(self, method: str, request: Message, reply_class: type[R]) -> R:
        """An RPC to the schedd; made again if its reply is lost."""
        if self._rpc is None:
            pathname = path.join(SCHEDD, self._schedd_id)
            await self.fs.mount_endpoint(pathname, self._schedd_endpoint)
            self._rpc = AsyncRPCClnt(self.fs, pathname)
        return await self._rpc.rpc(f"WorkerLeases.{method}", request, reply_class, idempotent=True)

    async def take(self, spec: pb.ProcSpec) -> ProcProcess:
        return await self._templates.take(spec)

    def begins(self, lease_id: str, number: int) -> None:
        """If this process dies, that proc is known to have begun."""
        self._begun.write(lease_id, number)

    async def wait_over(self, lease_id: str, number: int, wait: int) -> None:
        """A wait is over of a proc that runs in this process."""
        proc = pb.LeasedProc(number=number)
        await _unless_gone(
            self.call("Tell", pb.LeaseTellRequest(lease=lease_id, proc=proc, wait_over=wait), pb.EmptyReply)
        )


class ServedLease:
    """One lease."""

    def __init__(self, agent: LeaseAgent, lease_id: str, runner: Runner, instance: bytes) -> None:
        self._agent = agent
        self._lease_id = lease_id
        self._runner = runner
        self._instance = instance
        self._running: RunningProc | None = None
        self.heard = pb.LeaseHeedRequest(lease=lease_id)
        """What the schedd wants done to procs of this lease, as far as it is known here."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_timed = timeline.is_kept()

    async def run(self) -> None:
        heeding = asyncio.create_task(self._heed(), name="lease-heed")
        try:
            reply = await self._next(runner=self._runner.to_pb())
            while not reply.over:
                reply = await (self._run_here(reply) if reply.proc.reuse else self._run_apart(reply))
        finally:
            tasks = {heeding, *self._tasks}
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _next(self, **what: Any) -> pb.LeaseNextReply:
        request = pb.LeaseNextRequest(lease=self._lease_id, **what)
        return await self._agent.call("Next", request, pb.LeaseNextReply)

    async def _run_apart(self, got: pb.LeaseNextReply) -> pb.LeaseNextReply:
        """In a process of its own. Returns what the lease got next."""
        # Before there is a process: the proc may be evicted meanwhile.
        running = self._running = RunningProc(self, got)
        try:
            process = await self._agent.take(got.proc)
            status = await running.run(process)
        except serr.SigmaError as error:  # of taking one: how a proc ends is its status
            _log(f"{got.proc.pid} does not begin here: {error}")
            return await self._next(returned=running.proc)
        finally:
            self._running = None
        return await self._next(ended=pb.LeaseEnded(proc=running.proc, status=status, started=running.has_started))

    async def _run_here(self, got: pb.LeaseNextReply) -> pb.LeaseNextReply:
        """In the main thread, which asks for the next one itself: that spares two switches of threads. Returns what it
        got that is not for it."""
        upcoming: asyncio.Future[pb.LeaseNextReply] = asyncio.get_running_loop().create_future()
        self._agent.orders.put(RunHere(self, got, upcoming))
        noticing = asyncio.create_task(self._notice(), name="lease-notice")
        try:
            return await upcoming
        finally:
            noticing.cancel()
            self._running = None

    async def _notice(self) -> None:
        """Tells of procs that run here for a while. Looks, since the main thread would have to wake this one to tell of
        each that begins."""
        seen: RunningProc | None = None
        while True:
            await asyncio.sleep(config.current().workers.reused_notice_s)
            if self._running is not None and self._running is seen:
                seen.notice()
            seen = self._running

    # -- in the main thread

    def begins_here(self, got: pb.LeaseNextReply) -> RunningProc:
        """The main thread is about to run it."""
        running = self._running = RunningProc(self, got)
        running.heed()
        self.begins(got.number)
        return running

    def next_request(self, ran: RunningProc, status: pb.ProcStatus) -> pb.LeaseNextRequest:
        """What asks for the next proc after that one."""
        ended = pb.LeaseEnded(proc=ran.proc, status=status, started=ran.has_started)
        return pb.LeaseNextRequest(lease=self._lease_id, ended=ended)

    # -- for what runs

    @property
    def log_dir(self) -> str:
        return self._agent.log_dir

    @property
    def instance(self) -> bytes:
        return self._instance

    def begins(self, number: int) -> None:
        self._agent.begins(self._lease_id, number)

    def runner_pb(self, process: ProcProcess | None) -> pb.LeaseRunner:
        """Where a proc runs: in a process of its own, or here."""
        own = self._runner if process is None else msgspec.structs.replace(self._runner, process=process.process)
        return own.to_pb()

    def span(self, span: TimelineSpan) -> None:
        if self._is_timed:
            self._agent.orders.put(span)

    def park(self, number: int, wait: int) -> None:
        self._agent.orders.put(Park(number, wait))

    def tell_soon(self, proc: pb.LeasedProc, **what: Any) -> None:
        """In the order of the calls; nobody waits for it."""
        request = pb.LeaseTellRequest(lease=self._lease_id, proc=proc, **what)
        self._start(self._agent.call("Tell", request, pb.EmptyReply))

    def _start(self, coroutine: Coroutine[Any, Any, object]) -> None:
        task = asyncio.create_task(_unless_gone(coroutine), name="lease-tell")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _heed(self) -> None:
        """Does what the schedd wants done to the proc that runs."""
        with contextlib.suppress(*serr.SESSION_ERRORS):  # the schedd is gone: whoever asks for the next proc hears it
            while True:
                reply = await self._agent.call("Heed", self.heard, pb.LeaseHeedReply)
                if reply.over:
                    return
                # Of the proc, which the lease may be about to get.
                self.heard.evicted = reply.evicted or self.heard.evicted
                self.heard.killed = reply.killed or self.heard.killed
                self.heard.start_awaited = reply.start_awaited or self.heard.start_awaited
                if self._running is not None:
                    self._running.heed()


class RunningProc:
    """The proc that a lease runs: hears what it says of itself, as ``templates.LeaseListener``."""

    def __init__(self, serving: ServedLease, got: pb.LeaseNextReply) -> None:
        self._serving = serving
        self._spec = got.proc
        self._token = got.token
        self.number = got.number
        self.proc = pb.LeasedProc(pid=got.proc.pid, number=got.number)
        self.has_started = False
        self.is_start_awaited = got.start_awaited
        self._said: pb.ProcStatus | None = None
        self._is_start_told = self._is_report_told = self._is_noticed = False
        self._process: ProcProcess | None = None
        self._telling: asyncio.TimerHandle | None = None
        self._waits_count = self._waiting_count = 0

    async def run(self, process: ProcProcess) -> pb.ProcStatus:
        """Returns how it ended. What is untold then need not be told: the end says it all."""
        self._serving.begins(self.number)
        self._process = process
        self._serving.span(TimelineSpan(self._spec, process.process.pid))
        self.heed()
        self._tell_later()
        try:
            status = await process.run(self._spec, self._serving.instance, self, self._token)
        finally:
            self._cancel_telling()
            self._serving.span(TimelineSpan(self._spec))
        if status.crash:
            status.msg = memory.take_note(self._serving.log_dir, process.process.pid) or status.msg
        return status

    def heed(self) -> None:
        """Does what the schedd wants done, if it is about this proc. May be repeated."""
        heard = self._serving.heard
        if self._process is not None and heard.evicted == self.number:
            self._process.evict()
        if self._process is not None and heard.killed == self.number:
            self._process.kill()
        if heard.start_awaited == self.number and not self.is_start_awaited:
            self.is_start_awaited = True
            if self.has_started:
                self.tell()

    # -- what is told of it

    def notice(self) -> None:
        """It runs for a while."""
        self.tell()

    def _tell_later(self) -> None:
        """Of a short proc its end comes first, and tells the rest: that spares messages."""
        if self._telling is None:
            loop = asyncio.get_running_loop()
            self._telling = loop.call_later(config.current().workers.notice_after_s, self.notice)

    def tell(self, **what: Any) -> None:
        """All that is untold, and this."""
        self._cancel_telling()
        if self.has_started and not self._is_start_told:
            self._is_start_told = what["started"] = True
        if self._said is not None and not self._is_report_told:
            self._is_report_told, what["reported"] = True, self._said
        if not self._is_noticed:
            self._is_noticed, what["runner"] = True, self._serving.runner_pb(self._process)
            self._show_log()
        if what:
            self._serving.tell_soon(self.proc, **what)

    def _show_log(self) -> None:
        """Whoever hears of it may look at its log."""
        if self._process is not None:
            self._process.keep_log()
        else:
            keep_log(self._spec.pid)

    def _cancel_telling(self) -> None:
        if self._telling is not None:
            self._telling.cancel()
            self._telling = None

    # -- what it says

    def started(self) -> None:
        self.has_started = True
        if self.is_start_awaited:
            self.tell()
        else:
            self._tell_later()

    def reported(self, status: pb.ProcStatus) -> None:
        self._said = status
        self._tell_later()

    def says_here(self, word: pb.ProcWord) -> bool:
        """Of a proc that runs in this process, in any of its threads. Whether it is to be told at once, on the loop; if
        not, who looks for procs that stay will see it."""
        if word.HasField("reported"):
            self._said = word.reported
            return False
        self.has_started = True
        return self.is_start_awaited

    def waits(self, waits: bool) -> None:
        """For other procs. One that reserved cores keeps them."""
        if self._spec.mcpu > 0:
            return
        # Each process of a proc tells of its own: the core is lent while any of them waits.
        before, self._waiting_count = self._waiting_count, max(self._waiting_count + (1 if waits else -1), 0)
        if before == 0 and waits:
            self._waits_count += 1
            self._serving.park(self.number, self._waits_count)
        elif before == 1 and not waits:
            self.tell(wait_over=self._waits_count)


async def _unless_gone(coroutine: Coroutine[Any, Any, object]) -> None:
    try:
        await coroutine
    except serr.SESSION_ERRORS as error:  # the schedd is gone: whoever asks for the next proc hears it
        _log(f"not told: {error}")

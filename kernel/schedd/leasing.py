"""The leases of one schedd at work: the book decides, this does what it says, in Ray and towards the leases."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from kernel.schedd import endings
from kernel.schedd.lease_tasks import LeaseTasks, RayContext
from kernel.schedd.leases import Ask, Cancel, Hand, LeaseBook, Over
from kernel.schedd.procstate import LeasePhase
from kernel.schedd.raynodes import NodeWatch
from kernel.schedd.shares import Turn
from kernel.schedd.slots import ClusterSize, Slots
from sigmaos_ray import debug
from sigmaos_ray.pb import proc_pb2 as pb

if TYPE_CHECKING:
    from kernel.schedd.leases import LeaseInstruction
    from kernel.schedd.places import Runner
    from kernel.schedd.procstate import ProcState, WorkerLease
    from kernel.schedd.raynodes import Sighting

_log = debug.selector("SCHEDD")


class LeaseListener:
    """What leases tell of procs; the schedd's procs listen."""

    def handed(self, proc: ProcState, lease: WorkerLease) -> None:
        """A lease has it, and is about to run it."""

    def lost(self, proc: ProcState, lease: WorkerLease, error: BaseException | None, *, with_node: bool) -> None:
        """Its lease ended under it; the error is Ray's, if Ray told of it. What had not begun is to be put back."""

    def withdrawn(self, proc: ProcState) -> None:
        """It was taken out of the queue."""


class _Talk:
    """With one lease that came: what it waits for, and what it is to hear."""

    def __init__(self) -> None:
        self.next: asyncio.Future[pb.LeaseNextReply] | None = None
        self.news = asyncio.Event()
        """There may be something that it is to heed."""
        self.parked: dict[int, asyncio.Future[None]] = {}
        """By the number of the wait."""
        self.waits_over = 0

    def proc_is_over(self) -> None:
        """Nothing of the proc that it ran is left to say."""
        for future in self.parked.values():
            _answer(future, None)
        self.parked.clear()
        self.waits_over = 0


def _answer(future: asyncio.Future[Any] | None, value: object) -> None:
    # Whoever asked may have gone in this same turn of the loop.
    if future is not None and not future.done():
        future.set_result(value)


def _wake(talk: _Talk | None) -> None:
    if talk is not None:
        talk.news.set()


def _unheard(proc: ProcState | None, heard: pb.LeaseHeedRequest) -> pb.LeaseHeedReply | None:
    """Pure."""
    if proc is None:
        return None
    number = proc.number
    evicted = number if proc.evicting and heard.evicted != number else 0
    killed = number if proc.killing and not proc.spec.reuse and heard.killed != number else 0
    awaited = number if proc.start_awaited and not proc.started and heard.start_awaited != number else 0
    if not (evicted or killed or awaited):
        return None
    return pb.LeaseHeedReply(evicted=evicted, killed=killed, start_awaited=awaited)


class Leasing:
    """One per schedd, on its loop. ``close`` when no proc is left."""

    def __init__(self, context: RayContext, node: bytes, own_cores: float, listener: LeaseListener) -> None:
        """``own_cores``: of this node, which is all that is known of the cluster at first: procs do not wait for Ray's
        answer."""
        self._loop = asyncio.get_running_loop()
        self._limits = context.limits
        self._listener = listener
        self._slots = Slots(context.limits, ClusterSize(own_cores, own_cores))
        self.book = LeaseBook(context.limits, self._slots)
        self._tasks = LeaseTasks(self._loop, context, node, self._on_task_end)
        self._shares = bool(context.referee[0])
        self._talks: dict[WorkerLease, _Talk] = {}
        self._nodes = NodeWatch()
        self._looking: asyncio.Task[None] | None = None
        self._sharing: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._going_on: asyncio.Handle | None = None
        self._failures_count = 0
        """Leases in a row that ended before they came."""
        self.arrived = asyncio.Event()
        """The first lease came."""

    def limit_cores(self, cores_max: float) -> None:
        """What best-effort procs may have at a time; 0: what there is."""
        self._slots.cores_max = cores_max
        self._go_on_soon()

    @property
    def cores_of_largest_node(self) -> float:
        return self._slots.size.cores_of_largest_node

    @property
    def hosts_count(self) -> int:
        """Machines that Ray's nodes are on."""
        return self._slots.size.hosts_count

    # -- procs

    def put(self, proc: ProcState) -> None:
        """Queues a proc."""
        self.book.put(proc, self._loop.time())
        self._watch_nodes()
        self._go_on_soon()

    def put_back(self, proc: ProcState) -> None:
        """It was handed out and did not begin: it waits again, before all others."""
        self.book.put_back(proc, self._loop.time())
        self._go_on_soon()

    def withdraw(self, proc: ProcState) -> None:
        """Takes a proc out of the queue; nothing happens if a lease has it already."""
        if self.book.withdraw(proc):
            self._loop.call_soon(self._listener.withdrawn, proc)
            self._go_on_soon()

    def to_heed(self, proc: ProcState) -> None:
        """What its lease is to do to a proc has changed; nothing happens if none has it."""
        talk = self._talks.get(proc.lease) if proc.lease is not None else None
        if talk is not None:
            talk.news.set()

    def kill(self, proc: ProcState) -> None:
        """Ends a proc's processes, or takes it out of the queue."""
        self.withdraw(proc)
        lease = proc.lease
        if lease is None:
            return
        if proc.spec.reuse:
            self._tasks.kill(lease)
            return
        self.to_heed(proc)
        self._loop.call_later(self._limits.lease_kill_s, self._on_not_killed, proc, lease)

    def _on_not_killed(self, proc: ProcState, lease: WorkerLease) -> None:
        if proc.lease is lease and not proc.gone:
            _log(f"{lease.id} does not kill {proc.pid}, and is killed")
            self._tasks.kill(lease)

    # -- what leases say

    async def next(self, lease_id: str, runner: Runner | None) -> pb.LeaseNextReply:
        """A lease has nothing to run: returns what it is to run, once there is something."""
        lease = self.book.get(lease_id)
        if lease is None:
            return pb.LeaseNextReply(over=True)
        talk = self._talks.setdefault(lease, _Talk())
        if lease.proc is not None and not lease.proc.began_s:
            # It was handed out with a reply that the lease did not get.
            return self._hand(lease.proc)
        future: asyncio.Future[pb.LeaseNextReply] = self._loop.create_future()
        talk.next = future
        talk.proc_is_over()
        self.arrived.set()
        self._failures_count = 0
        self.book.came(lease, runner, self._loop.time())
        self._go_on()
        return await future

    def freed(self, proc: ProcState) -> None:
        """Its lease told how it ended: it has nothing to run."""
        if proc.lease is not None:
            self.book.freed(proc.lease)

    async def heed(self, request: pb.LeaseHeedRequest) -> pb.LeaseHeedReply:
        """Returns what is to be done to the proc of a lease, once there is something of which the lease has not heard.
        What it has heard it says itself: a reply may have been lost."""
        while (lease := self.book.get(request.lease)) is not None and lease.phase is not LeasePhase.OVER:
            news = self._talks.setdefault(lease, _Talk()).news
            news.clear()
            if (reply := _unheard(lease.proc, request)) is not None:
                return reply
            await news.wait()
        return pb.LeaseHeedReply(over=True)

    async def park(self, lease_id: str, number: int, wait: int) -> None:
        """A lease's worker waits here, and Ray lends its core: returns when the wait of that number is over, or the
        proc is."""
        lease = self.book.get(lease_id)
        talk = self._talks.get(lease) if lease is not None else None
        if lease is None or talk is None or lease.proc is None or lease.proc.number != number:
            return
        if wait <= talk.waits_over:
            return
        parked = talk.parked[wait] = self._loop.create_future()
        self.book.parked(lease, True)
        self._go_on_soon()
        try:
            await parked
        finally:
            if lease.proc is not None and lease.proc.number == number:
                self.book.parked(lease, False)

    def wait_over(self, lease_id: str, wait: int) -> None:
        """The waits of its proc up to that number are over."""
        lease = self.book.get(lease_id)
        talk = self._talks.get(lease) if lease is not None else None
        if talk is not None:
            talk.waits_over = max(talk.waits_over, wait)
            for number in [number for number in talk.parked if number <= wait]:
                _answer(talk.parked.pop(number), None)

    # -- Ray's side

    def warm_up(self, count: int) -> None:
        """Has so many workers made ready on this node. Does not wait."""
        self.book.ask_ahead(count)
        self._go_on()

    def _on_task_end(self, lease: WorkerLease, error: BaseException | None) -> None:
        self._lost(lease, error)

    def _lost(self, lease: WorkerLease, error: BaseException | None, *, with_node: bool = False) -> None:
        """It is over: in order if nobody expects more of it."""
        talk = self._talks.pop(lease, None)
        if talk is not None:
            talk.proc_is_over()
            _answer(talk.next, pb.LeaseNextReply(over=True))
        if lease.phase is LeasePhase.OVER:
            _wake(talk)
            return
        was_asked = lease.phase is LeasePhase.ASKED
        proc = self.book.lost(lease)
        _wake(talk)
        if proc is not None:
            self._listener.lost(proc, lease, error, with_node=with_node)
        elif was_asked and error is not None:
            self._failed(lease, error)
        self._go_on()

    def _failed(self, lease: WorkerLease, error: BaseException) -> None:
        """It ended before it came: its worker died, and another one is asked for; or Ray cannot begin such a lease, and
        a proc that waits for one would wait for ever."""
        self._failures_count += 1
        if endings.may_be_asked_again(error) and self._failures_count < self._limits.lease_failures_max:
            return
        proc = self.book.first_waiting(lease.needs)
        if proc is not None and self.book.withdraw(proc):
            self._listener.lost(proc, lease, error, with_node=False)

    def _go_on_soon(self) -> None:
        """In the loop's next turn, so that the reply to a spawn is on its way first."""
        if self._going_on is None:
            self._going_on = self._loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        if self._going_on is not None:
            self._going_on.cancel()
            self._going_on = None
        for instruction in self.book.due(self._loop.time()):
            self._do(instruction)
        self._look_again()
        if self._shares and self._sharing is None and self.book.has_waiting:
            self._sharing = self._loop.create_task(self._share(), name="schedd-share")

    def _do(self, instruction: LeaseInstruction) -> None:
        match instruction:
            case Hand(lease, proc):
                talk = self._talks[lease]
                self._listener.handed(proc, lease)
                _answer(talk.next, self._hand(proc))
                talk.next = None
            case Over(lease):
                talk = self._talks[lease]
                _answer(talk.next, pb.LeaseNextReply(over=True))
                _wake(talk)
            case Ask(lease, is_ahead):
                self._tasks.ask(lease, is_here=is_ahead)
            case Cancel(lease):
                self._tasks.give_up(lease)

    @staticmethod
    def _hand(proc: ProcState) -> pb.LeaseNextReply:
        return pb.LeaseNextReply(proc=proc.spec, number=proc.number, start_awaited=proc.start_awaited, token=proc.token)

    def _look_again(self) -> None:
        """When something is due though nothing happens: idle leases end; and a latency-critical proc that gets no
        cores must not hold up the others for ever."""
        now_s = self._loop.time()
        times = [self.book.next_look_s(), self._slots.holds_until(now_s) if self.book.has_waiting else None]
        at_s = min((time_s for time_s in times if time_s is not None), default=None)
        if self._timer is not None and (at_s is None or self._timer.when() != at_s):
            self._timer.cancel()
            self._timer = None
        if at_s is not None and self._timer is None:
            self._timer = self._loop.call_at(at_s, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._go_on()

    # -- shares

    async def _share(self) -> None:
        """Asks what share this schedd has, as long as procs wait."""
        try:
            while self.book.has_waiting:
                turn = await self._tasks.turn()
                if turn != self._slots.turn:
                    self._slots.turn = turn
                    self._go_on()
                await asyncio.sleep(self._limits.share_poll_s)
        finally:
            # No await since the queue was seen empty: a proc that comes from now on finds no task, and begins one.
            self._slots.turn, self._sharing = Turn(), None

    # -- Ray's nodes

    def _watch_nodes(self) -> None:
        """Looks at Ray's nodes, and again and again while there are leases or procs that wait."""
        if self._looking is None:
            self._looking = self._loop.create_task(self._look(), name="schedd-nodes")

    async def _look(self) -> None:
        try:
            while True:
                sighting = await self._tasks.look()
                if sighting is not None:
                    self._saw(sighting)
                await asyncio.sleep(self._limits.nodes_poll_s)
                if not self.book.has_waiting and not any(self.book.all()):
                    return
        finally:
            self._looking = None

    def _saw(self, sighting: Sighting) -> None:
        self._slots.size = sighting.cluster_size()
        if self._nodes.saw(sighting):
            # Ray may be about to begin leases there, and would wait for minutes.
            self._tasks.renew()
            for lease in self.book.forget_asked():
                self._tasks.give_up(lease)
        for lease in list(self.book.all()):
            if self._nodes.has_lost(lease.runner, lease.came_s, sighting):
                self._lost(lease, None, with_node=True)
        self._go_on()

    def report(self) -> dict[str, Any]:
        """The section ``leases`` of ``.statsd``."""
        return self.book.report()

    async def close(self) -> None:
        """Tells all leases that they are over, and asks nothing more."""
        for timer in (self._timer, self._going_on):
            if timer is not None:
                timer.cancel()
        tasks = [task for task in (self._looking, self._sharing) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for lease in list(self.book.all()):
            self.book.lost(lease)
            self._tasks.give_up(lease)
        for talk in self._talks.values():
            _answer(talk.next, pb.LeaseNextReply(over=True))
            _wake(talk)
            talk.proc_is_over()
        self._tasks.close()

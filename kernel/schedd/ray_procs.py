"""Procs as Ray's tasks and actors: submitting them, ending them, and hearing how they ended. The only user of Ray's
scheduler. Best-effort procs are tasks, latency-critical ones actors; Ray never retries or restarts one.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

import msgspec
import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from kernel.raylib import packages
from kernel.schedd import endings, worker
from kernel.schedd.backlog import Backlog, ClusterSize
from kernel.schedd.places import RayPlace
from kernel.schedd.raynodes import NodeWatch, Sighting, look, lost_with
from kernel.schedd.shares import Turn
from sigmaos_ray import debug
from sigmaos_ray.config import Scheduling

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from kernel.schedd.procstate import ProcState
    from sigmaos_ray.proc import Status

_log = debug.selector("SCHEDD")

_MIB: Final = 1 << 20
_CPU_GRAIN: Final = 1e-4
"""Ray counts cores in ten-thousandths."""


class RayContext(msgspec.Struct, frozen=True, kw_only=True):
    """What the Ray side of a schedd is told when it starts."""

    place: RayPlace
    limits: Scheduling
    realm: str = ""
    kernel_id: str = ""
    referee: tuple[str, str] = ("", "")
    """As in ``KernelArgs``."""


class RayProcs:
    """The Ray side of a schedd's procs. ``ended(proc, status)`` is called on the loop, once for each proc; the
    status is None if its worker died and Ray does not say how. Used from the loop; ``close`` when no proc is left."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        context: RayContext,
        node: bytes,
        ended: Callable[[ProcState, Status | None], None],
    ) -> None:
        self._loop = loop
        self._context = context
        self._node = node
        self._ended = ended
        self._tasks: dict[ProcState, Any] = {}
        self._actors: dict[ProcState, Any] = {}
        self._withdrawn: set[ProcState] = set()
        """Actors that were killed before they ran anything."""
        self._creator = ThreadPoolExecutor(1, thread_name_prefix="schedd-actors")
        """Registers actors, in order: that blocks for Ray's global control store."""
        # This node is all that we know of the cluster at first: procs do not wait for Ray's answer.
        own = float(os.cpu_count() or 1)
        self._backlog = Backlog(context.limits, ClusterSize(own, own))
        self._nodes = NodeWatch()
        self._looking: asyncio.Handle | None = None
        """The pause before the next look at Ray's nodes, or the look itself; None while there is nothing to lose."""
        self._doubted: dict[ProcState, Any] = {}
        """Handed to Ray before a node was lost, and not heard of since: Ray may have them there. With the references
        that were taken back."""
        self._going_on: asyncio.TimerHandle | None = None
        self._sharing: asyncio.Task[None] | None = None
        self._referee: Any = None
        self._run: Any
        self._run_fresh: Any
        self._make_functions()
        self._warm: Any = ray.remote(**self._plain())(worker.warm)
        self._actor: Any = ray.remote(worker.ProcActor)
        self._watch_nodes()

    def _plain(self) -> dict[str, Any]:
        """Ray's options for best-effort procs."""
        options: dict[str, Any] = {"num_cpus": 1 / self._context.limits.be_per_core, "max_retries": 0}
        if self._context.place.runtime_env:
            options["runtime_env"] = self._context.place.runtime_env
        return options

    def _make_functions(self) -> None:
        """What runs best-effort procs, to Ray; anew after a node was lost: for a function that waits for workers there,
        Ray asks for fewer elsewhere."""
        run = _runner(self._node)
        self._run = ray.remote(**self._plain())(run)
        # Ray would keep the worker for the next task of its environment, and of a fresh proc's there is none.
        self._run_fresh = ray.remote(max_calls=1, **self._plain())(run)

    def submit(self, proc: ProcState) -> None:
        """Hands a proc to Ray, which queues, places and runs it. Errors arrive as its ending. Best-effort procs wait
        for the loop's next turn, so that the reply to their spawn is on its way first: Ray takes its time."""
        self._watch_nodes()
        if proc.latency_critical:
            self._backlog.reserve(proc, self._loop.time())
            self._creator.submit(self._create_actor, proc)
        elif proc.spec.mem_mb > 0 or proc.spec.kernels:  # may wait in Ray for what others do not need
            self._loop.call_soon(self._submit_task, proc)
        else:
            self._backlog.put(proc)
            self._loop.call_soon(self._go_on)

    def began(self, proc: ProcState) -> None:
        """A worker has it."""
        self._doubted.pop(proc, None)
        if proc.latency_critical:
            self._backlog.reserved(proc)
            self._go_on()

    def parked(self, change: int) -> None:
        """So many more procs wait without a slot."""
        self._backlog.parked(change)
        self._go_on()

    def _go_on(self) -> None:
        """Hands over what is due."""
        now_s = self._loop.time()
        for proc in self._backlog.due(now_s):
            self._submit_task(proc)
        if not self._backlog:
            return
        if self._sharing is None and self._context.referee[0]:
            self._sharing = self._loop.create_task(self._share(), name="schedd-share")
        # Woken then at the latest: a latency-critical proc that gets no cores must not hold up the others for ever.
        until_s = self._backlog.holds_until(now_s)
        if until_s is not None and self._going_on is None:
            self._going_on = self._loop.call_at(until_s, self._on_held_long)

    def _on_held_long(self) -> None:
        self._going_on = None
        self._go_on()

    async def _share(self) -> None:
        """Asks what share this schedd has, as long as procs wait."""
        try:
            while self._backlog:
                turn = await self._turn()
                if turn != self._backlog.turn:
                    self._backlog.turn = turn
                    self._go_on()
                await asyncio.sleep(self._context.limits.share_poll_s)
        finally:
            # No await since the backlog was seen empty: a proc that comes from now on finds no task, and begins one.
            self._backlog.turn, self._sharing = Turn(), None

    async def _turn(self) -> Turn:
        try:
            return await self._ask_turn()
        except (ValueError, TimeoutError, ray.exceptions.RayError) as error:  # the referee is away
            _log(f"no word of shares, each for itself: {error}")
            self._referee = None
            return Turn()

    async def _ask_turn(self) -> Turn:
        context = self._context
        if self._referee is None:
            name, namespace = context.referee
            self._referee = await self._loop.run_in_executor(self._creator, ray.get_actor, name, namespace)
        reply = self._referee.busy.remote(context.realm, context.kernel_id)
        turn: Turn = await asyncio.wait_for(asyncio.wrap_future(reply.future()), context.limits.share_timeout_s)
        return turn

    @property
    def cores_of_largest_node(self) -> float:
        return self._backlog.size.cores_of_largest_node

    # -- Ray's nodes

    def _watch_nodes(self) -> None:
        """Looks at Ray's nodes, and again and again while there are procs."""
        if self._looking is None:
            self._looking = self._loop.call_soon(self._look)

    def _look(self) -> None:
        self._creator.submit(self._look_at_cluster)

    def _look_at_cluster(self) -> None:
        """In the creator's thread."""
        sighting = None
        try:
            sighting = look(time.time())
        except ray.exceptions.RayError as error:
            _log(f"nodes of the cluster: {error}")
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._looked, sighting)

    def _looked(self, sighting: Sighting | None) -> None:
        # A list without this very node is none: Ray's control store is coming back, or has given this node up.
        if sighting is not None and self._context.place.node_id in sighting.sizes:
            self._saw(sighting)
        self._looking = None
        if self._tasks or self._actors or self._backlog:
            self._looking = self._loop.call_later(self._context.limits.nodes_poll_s, self._look)

    def _saw(self, sighting: Sighting) -> None:
        self._backlog.size = sighting.cluster_size()
        if self._nodes.saw(sighting):
            self._doubt()
        for proc in self._nodes.lost([*self._tasks, *self._actors], sighting):
            self._on_end(proc, lost_with(proc.runner))
        self._go_on()

    def _doubt(self) -> None:
        """A node was lost. Ray may be about to run procs there, and would wait for minutes: those that no worker has
        yet are taken back, and handed over again."""
        self._make_functions()
        doubted = {proc: ref for proc, ref in self._tasks.items() if proc.runner is None}
        self._doubted |= doubted
        for proc, ref in doubted.items():
            if not proc.started:
                ray.cancel(ref, force=False, recursive=False)
        if doubted:
            self._loop.call_later(self._context.limits.taken_back_s, self._on_still_doubted, doubted)

    def _on_still_doubted(self, doubted: dict[ProcState, Any]) -> None:
        """Ray has not given them back: it had given them to workers that do not answer. Nobody knows how far those
        came, so they are not run again."""
        for proc, ref in doubted.items():
            # Not one that was handed over again, and is in doubt again with another node.
            if self._doubted.get(proc) is ref:
                self._on_end(proc, lost_with(None))

    def _is_given_back(self, proc: ProcState, status: Status | None) -> bool:
        """Whether a proc that was taken back has not run: only then may it run elsewhere."""
        return proc in self._doubted and status is endings.WITHDRAWN and not (proc.evicting or proc.started)

    # -- tasks and actors

    def _submit_task(self, proc: ProcState) -> None:
        if proc.evicting:
            # Evicted between its spawn and this turn of the loop, when there was nothing yet to withdraw it from.
            self._on_end(proc, endings.WITHDRAWN)
            return
        proc.submitted_s = time.time()
        try:
            ref = self._task(proc).remote(proc.spec.SerializeToString())
        except (ValueError, TypeError, ray.exceptions.RayError) as error:
            self._loop.call_soon(self._on_end, proc, endings.of_error(error))
            return
        self._tasks[proc] = ref
        ref.future().add_done_callback(functools.partial(self._on_done, proc))

    def _task(self, proc: ProcState) -> Any:
        function = self._run_fresh if proc.spec.fresh else self._run
        return function.options(name=proc.pid, **self._needs(proc))

    def _needs(self, proc: ProcState) -> dict[str, Any]:
        """Ray's options for what a proc asked for, beyond the function's own."""
        spec = proc.spec
        options: dict[str, Any] = {}
        if spec.mcpu > 0:
            # Never rounded to 0, which is to Ray a task that needs no core at all.
            options["num_cpus"] = max(round(spec.mcpu / 1000, 4), _CPU_GRAIN)
        if spec.mem_mb > 0:
            options["memory"] = int(spec.mem_mb * _MIB)
        if spec.kernels:
            options["scheduling_strategy"] = self._here()
        # Ray reuses a worker only within one runtime environment: one that has run an older package runs none of it.
        package = packages.environment(spec.package) if spec.package else {}
        environment = {**(self._context.place.runtime_env or {}), **package}
        if spec.fresh:
            options["runtime_env"] = _fresh_env(environment, spec.pid)
        elif environment:
            # For actors: a task's function has the realm's already, an actor's class has none.
            options["runtime_env"] = environment
        return options

    @property
    def hosts_count(self) -> int:
        """Machines that Ray's nodes are on."""
        return self._backlog.size.hosts_count

    def _here(self) -> NodeAffinitySchedulingStrategy:
        return NodeAffinitySchedulingStrategy(self._context.place.node_id, soft=False)

    def _create_actor(self, proc: ProcState) -> None:
        """In the creator's thread. A proc that was withdrawn meanwhile is not created."""
        if proc.evicting or proc.gone:
            self._tell(proc, endings.WITHDRAWN)
            return
        proc.submitted_s = time.time()
        try:
            # A name makes Ray register the actor before this returns, and refuse one that another live actor has.
            options = {
                "name": proc.pid,
                "max_restarts": 0,
                "namespace": self._context.place.namespace,
                **self._needs(proc),
            }
            actor = self._actor.options(**options).remote()
            future: Future[bytes] = actor.run.remote(proc.spec.SerializeToString(), self._node).future()
        except (ValueError, TypeError, ray.exceptions.RayError) as error:
            self._tell(proc, endings.of_error(error))
            return
        self._loop.call_soon_threadsafe(self._created, proc, actor, future)

    def _created(self, proc: ProcState, actor: Any, future: Future[bytes]) -> None:
        self._actors[proc] = actor
        future.add_done_callback(functools.partial(self._on_done, proc))
        # An eviction that came while the actor was being made found none to withdraw.
        if proc.evicting and not proc.began_s:
            self.withdraw(proc)

    def withdraw(self, proc: ProcState) -> None:
        """Takes a proc out of Ray's queue; nothing happens if it runs already."""
        if self._withdraw_unheard(proc):
            return
        actor = self._actors.get(proc)
        if actor is not None and not proc.began_s:
            self._withdrawn.add(proc)
            ray.kill(actor)
        # One that began meanwhile gets a KeyboardInterrupt instead: its worker passes over those of its first moment.
        ref = self._tasks.get(proc)
        if ref is not None:
            ray.cancel(ref, force=False, recursive=False)

    def _withdraw_unheard(self, proc: ProcState) -> bool:
        """True if Ray has never heard of the proc, which ends here."""
        was_here = self._backlog.withdraw(proc)
        if was_here:
            self._loop.call_soon(self._on_end, proc, endings.WITHDRAWN)
        return was_here

    def kill(self, proc: ProcState) -> None:
        """Ends the worker that runs a proc, or takes it out of the queue."""
        if self._withdraw_unheard(proc):
            return
        actor = self._actors.get(proc)
        if actor is not None:
            ray.kill(actor)
        ref = self._tasks.get(proc)
        if ref is not None:
            ray.cancel(ref, force=True, recursive=False)

    def _on_done(self, proc: ProcState, future: Future[bytes]) -> None:
        """In a thread of Ray's."""
        error = future.exception()
        if error is None:
            status, proc.times = endings.of_result(future.result())
            self._tell(proc, status)
        else:
            self._tell(proc, endings.of_error(error))

    def _tell(self, proc: ProcState, status: Status | None) -> None:
        try:
            self._loop.call_soon_threadsafe(self._on_end, proc, status)
        except RuntimeError:  # the loop is closed: the schedd is gone, and nobody waits
            _log(f"{proc.pid} ended after the schedd")

    def _on_end(self, proc: ProcState, status: Status | None) -> None:
        if proc.gone:  # lost with its node, long before Ray says so
            return
        self._tasks.pop(proc, None)
        is_given_back = self._is_given_back(proc, status)
        self._doubted.pop(proc, None)
        if is_given_back:
            self._submit_task(proc)
            return
        self._backlog.ended(proc)
        actor = self._actors.pop(proc, None)
        if actor is not None:
            ray.kill(actor)  # frees its cores, with all that the program left in its process
        # To Ray it is an actor that was killed: that we did it, before it ran, makes it an eviction.
        if proc in self._withdrawn:
            self._withdrawn.discard(proc)
            status = status or endings.WITHDRAWN
        self._ended(proc, status)
        self._go_on()

    def slots(self) -> int:
        """How many best-effort procs this node runs at a time, within reason."""
        limits = self._context.limits
        return min((os.cpu_count() or 1) * limits.be_per_core, limits.warm_max)

    def warm_up(self, count: int) -> None:
        """Gets so many workers ready. Does not wait."""
        task = self._warm.options(name="warm-up", scheduling_strategy=self._here())
        for _ in range(count):
            task.remote(self._node, count)

    def close(self) -> None:
        for timer in (self._going_on, self._looking):
            if timer is not None:
                timer.cancel()
        if self._sharing is not None:
            self._sharing.cancel()
        self._creator.shutdown(wait=False, cancel_futures=True)


def _runner(node: bytes) -> Callable[[bytes], bytes]:
    """What a task runs. Workers get it once, with what all procs of the schedd share."""

    def run_proc(proc: bytes) -> bytes:
        return worker.run_proc(proc, node)

    return run_proc


def _fresh_env(realm_env: dict[str, Any] | None, pid: str) -> dict[str, Any]:
    """An environment that no other proc has: Ray runs it in a process of its own."""
    env = dict(realm_env or {})
    env["env_vars"] = {**env.get("env_vars", {}), "SIGMAOS_FRESH": pid}
    return env

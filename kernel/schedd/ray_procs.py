"""Procs as Ray's tasks and actors: submitting them, ending them, and hearing how they ended. The only user of Ray's
scheduler. Best-effort procs are tasks, latency-critical ones actors; Ray never retries or restarts one.
"""

from __future__ import annotations

import functools
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

import msgspec
import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from kernel.schedd import endings, worker
from sigmaos_ray import debug

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from concurrent.futures import Future

    from kernel.schedd.state import ProcState
    from sigmaos_ray.proc import Status

_log = debug.selector("SCHEDD")

_MIB: Final = 1 << 20
_CPU_GRAIN: Final = 1e-4
"""Ray counts cores in ten-thousandths."""
_WARM_MAX: Final = 8


class RayContext(msgspec.Struct, frozen=True, kw_only=True):
    """Where this schedd stands in Ray."""

    node_id: str
    namespace: str | None
    runtime_env: dict[str, Any] | None = None
    """The realm's; never with per-proc data in it."""
    be_per_core: int


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
        plain: dict[str, Any] = {"num_cpus": 1 / context.be_per_core, "max_retries": 0}
        if context.runtime_env:
            plain["runtime_env"] = context.runtime_env
        self._run: Any = ray.remote(**plain)(worker.run_proc)
        self._run_fresh: Any = ray.remote(max_calls=1, **plain)(worker.run_proc)
        self._warm: Any = ray.remote(**plain)(worker.warm)
        self._actor: Any = ray.remote(worker.ProcActor)

    def submit(self, proc: ProcState) -> None:
        """Hands a proc to Ray, which queues, places and runs it. Errors arrive as its ending."""
        if proc.latency_critical:
            self._creator.submit(self._create_actor, proc)
            return
        spec = proc.spec
        try:
            ref = self._task(proc).remote(spec.SerializeToString(), self._node)
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
            options["num_cpus"] = max(round(spec.mcpu / 1000, 4), _CPU_GRAIN)
        if spec.mem_mb > 0:
            options["memory"] = int(spec.mem_mb * _MIB)
        if spec.kernels:
            options["scheduling_strategy"] = self._here()
        if spec.fresh:
            options["runtime_env"] = _fresh_env(self._context.runtime_env, spec.pid)
        elif self._context.runtime_env:
            options["runtime_env"] = self._context.runtime_env
        return options

    def _here(self) -> NodeAffinitySchedulingStrategy:
        return NodeAffinitySchedulingStrategy(self._context.node_id, soft=False)

    def _create_actor(self, proc: ProcState) -> None:
        """In the creator's thread. A proc that was withdrawn meanwhile is not created."""
        if proc.evicting or proc.gone:
            self._tell(proc, endings.WITHDRAWN)
            return
        try:
            options = {"name": proc.pid, "max_restarts": 0, "namespace": self._context.namespace, **self._needs(proc)}
            actor = self._actor.options(**options).remote()
            future: Future[bytes] = actor.run.remote(proc.spec.SerializeToString(), self._node).future()
        except (ValueError, TypeError, ray.exceptions.RayError) as error:
            self._tell(proc, endings.of_error(error))
            return
        self._loop.call_soon_threadsafe(self._created, proc, actor, future)

    def _created(self, proc: ProcState, actor: Any, future: Future[bytes]) -> None:
        self._actors[proc] = actor
        future.add_done_callback(functools.partial(self._on_done, proc))
        if proc.evicting and not proc.began_s:
            self.withdraw(proc)

    def withdraw(self, proc: ProcState) -> None:
        """Takes a proc out of Ray's queue; nothing happens if it runs already."""
        actor = self._actors.get(proc)
        if actor is not None and not proc.began_s:
            self._withdrawn.add(proc)
            ray.kill(actor)
        ref = self._tasks.get(proc)
        if ref is not None:
            ray.cancel(ref, force=False, recursive=False)

    def kill(self, proc: ProcState) -> None:
        """Ends the worker that runs a proc, or takes it out of the queue."""
        actor = self._actors.get(proc)
        if actor is not None:
            ray.kill(actor)
        ref = self._tasks.get(proc)
        if ref is not None:
            ray.cancel(ref, force=True, recursive=False)

    def _on_done(self, proc: ProcState, future: Future[bytes]) -> None:
        """In a thread of Ray's."""
        error = future.exception()
        self._tell(proc, endings.of_result(future.result()) if error is None else endings.of_error(error))

    def _tell(self, proc: ProcState, status: Status | None) -> None:
        try:
            self._loop.call_soon_threadsafe(self._on_end, proc, status)
        except RuntimeError:  # the loop is closed: the schedd is gone, and nobody waits
            _log(f"{proc.pid} ended after the schedd")

    def _on_end(self, proc: ProcState, status: Status | None) -> None:
        self._tasks.pop(proc, None)
        actor = self._actors.pop(proc, None)
        if actor is not None:
            ray.kill(actor)  # frees its cores, with all that the program left in its process
        if proc in self._withdrawn:
            self._withdrawn.discard(proc)
            status = status or endings.WITHDRAWN
        self._ended(proc, status)

    def warm_up(self) -> None:
        """Gets as many workers ready as this node runs best-effort procs at a time, within reason. Does not wait."""
        slots = min((os.cpu_count() or 1) * self._context.be_per_core, _WARM_MAX)
        task = self._warm.options(name="warm-up", scheduling_strategy=self._here())
        for _ in range(slots):
            task.remote(self._node, slots)

    def close(self) -> None:
        self._creator.shutdown(wait=False, cancel_futures=True)


def _fresh_env(realm_env: dict[str, Any] | None, pid: str) -> dict[str, Any]:
    """An environment that no other proc has: Ray runs it in a process of its own."""
    env = dict(realm_env or {})
    env["env_vars"] = {**env.get("env_vars", {}), "SIGMAOS_FRESH": pid}
    return env

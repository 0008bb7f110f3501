"""Leases as Ray's tasks: asking for them, giving them up, and hearing how they ended. The only user of Ray's scheduler;
Ray never retries one.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

import msgspec
import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from kernel.raylib import packages
from kernel.schedd import worker
from kernel.schedd.places import RayPlace
from kernel.schedd.raynodes import Sighting, look
from kernel.schedd.shares import Turn
from sigmaos_ray import debug
from sigmaos_ray.config import Scheduling

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from kernel.schedd.procstate import Needs, WorkerLease

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


class LeaseTasks:
    """The Ray side of a schedd's leases. ``ended(lease, error)`` is called on the loop, once for each that was asked
    for; the error is Ray's, None for one that ended in order. Used from the loop; ``close`` when no lease is left."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        context: RayContext,
        node: bytes,
        ended: Callable[[WorkerLease, BaseException | None], None],
    ) -> None:
        self._loop = loop
        self._context = context
        self._node = node
        self._ended = ended
        self._refs: dict[WorkerLease, Any] = {}
        self._asker = ThreadPoolExecutor(1, thread_name_prefix="schedd-ray")
        """For what blocks for Ray's global control store."""
        self._referee: Any = None
        self._task: Any
        self.renew()

    def renew(self) -> None:
        """What runs leases, to Ray; anew after a node was lost: for a function that waits for workers there, Ray asks
        for fewer elsewhere."""
        options: dict[str, Any] = {"num_cpus": 1 / self._context.limits.be_per_core, "max_retries": 0}
        if self._context.place.runtime_env:
            options["runtime_env"] = self._context.place.runtime_env
        self._task = ray.remote(**options)(_lease(self._node))

    def ask(self, lease: WorkerLease, *, is_here: bool = False) -> None:
        """Hands it to Ray, which queues, places and begins it. ``is_here``: on this node, whatever it needs. Errors
        arrive as its end."""
        try:
            options = {"name": f"sigmaos {self._context.realm}", **self._options(lease.needs, is_here)}
            ref = self._task.options(**options).remote(lease.id)
        except (ValueError, TypeError, ray.exceptions.RayError) as error:
            self._loop.call_soon(self._ended, lease, error)
            return
        self._refs[lease] = ref
        ref.future().add_done_callback(functools.partial(self._on_done, lease))

    def _options(self, needs: Needs, is_here: bool) -> dict[str, Any]:
        """Ray's options for what a lease needs, beyond the function's own."""
        options: dict[str, Any] = {}
        if needs.mcpu > 0:
            # Never rounded to 0, which is to Ray a task that needs no core at all.
            options["num_cpus"] = max(round(needs.mcpu / 1000, 4), _CPU_GRAIN)
        if needs.mem_mb > 0:
            options["memory"] = int(needs.mem_mb * _MIB)
        if needs.is_here or is_here:
            options["scheduling_strategy"] = NodeAffinitySchedulingStrategy(self._context.place.node_id, soft=False)
        if needs.package:
            # Ray reuses a worker only within one runtime environment: one that has an older package runs none of it.
            package = packages.environment(needs.package)
            options["runtime_env"] = {**(self._context.place.runtime_env or {}), **package}
        return options

    def give_up(self, lease: WorkerLease) -> None:
        """Takes one out of Ray's queue that Ray has not begun."""
        ref = self._refs.get(lease)
        if ref is not None:
            ray.cancel(ref, force=False, recursive=False)

    def kill(self, lease: WorkerLease) -> None:
        """Ends its worker, with all that runs there."""
        ref = self._refs.get(lease)
        if ref is not None:
            ray.cancel(ref, force=True, recursive=False)

    def _on_done(self, lease: WorkerLease, future: Future[None]) -> None:
        """In a thread of Ray's."""
        error = future.exception()
        with contextlib.suppress(RuntimeError):  # the loop is closed: the schedd is gone, and nobody waits
            self._loop.call_soon_threadsafe(self._on_end, lease, error)

    def _on_end(self, lease: WorkerLease, error: BaseException | None) -> None:
        if self._refs.pop(lease, None) is not None:
            self._ended(lease, error)

    async def look(self) -> Sighting | None:
        """Ray's nodes now; None if Ray does not tell, or tells of none where this very node is not: its control store
        is coming back, or has given this node up."""
        try:
            sighting = await self._loop.run_in_executor(self._asker, look, self._loop.time())
        except ray.exceptions.RayError as error:
            _log(f"nodes of the cluster: {error}")
            return None
        return sighting if self._context.place.node_id in sighting.sizes else None

    async def turn(self) -> Turn:
        """What this schedd may take of the slots: the referee's word; all of them while there is none."""
        if not self._context.referee[0]:
            return Turn()
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
            self._referee = await self._loop.run_in_executor(self._asker, ray.get_actor, name, namespace)
        reply = self._referee.busy.remote(context.realm, context.kernel_id)
        turn: Turn = await asyncio.wait_for(asyncio.wrap_future(reply.future()), context.limits.share_timeout_s)
        return turn

    def close(self) -> None:
        self._asker.shutdown(wait=False, cancel_futures=True)


def _lease(node: bytes) -> Callable[[str], None]:
    """What a task runs. Workers get it once, with what all leases of the schedd share."""

    def lease(lease_id: str) -> None:
        worker.serve(lease_id, node)

    return lease

"""Which schedd gets a proc: that of the node on which its parent runs, or of one of the nodes that it prefers."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

from sigmaos_ray import debug, serr
from sigmaos_ray.procclnt import spawning

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Sequence

    from sigmaos_ray.config import Procs
    from sigmaos_ray.proc import Proc
    from sigmaos_ray.procclnt.spawning import Load

_log = debug.selector("PROCCLNT")


class Placing:
    """Of one client. Used from its loop."""

    def __init__(
        self,
        near: Callable[[], Awaitable[str]],
        schedds: Callable[[], Awaitable[list[str]]],
        load_of: Callable[[str], Awaitable[Load]],
        limits: Procs,
    ) -> None:
        """``near``: the schedd of procs that prefer no node; ``schedds``: those that are there; by kernel id."""
        self._near = near
        self._schedds = schedds
        self._load_of = load_of
        self._limits = limits
        # From anywhere: the bursts of many clients must not all begin at one node.
        self._turn = random.randrange(1 << 16)

    async def choose(self, proc: Proc) -> str:
        """The kernel node whose schedd gets a proc: of those that it prefers one that has room, else the one where
        least is wanted (X-33). NotFound if none of them is there."""
        if not proc.kernels:
            return await self._near()
        fitting = _fitting(proc, await self._schedds())
        return fitting[0] if len(fitting) == 1 else await self._choose_of(fitting, proc)

    async def _choose_of(self, kernels: list[str], proc: Proc) -> str:
        """Asks a few at a time, until one has room."""
        random.shuffle(kernels)
        loads: dict[str, Load] = {}
        count = self._limits.loads_asked_max
        for first in range(0, len(kernels), count):
            asked = await self._loads_of(kernels[first : first + count])
            found = spawning.with_room(asked, proc)
            if found is not None:
                return found
            loads |= asked
        # If nobody answers, whoever it is: the spawn will tell what is wrong.
        return spawning.least_loaded(loads, proc) if loads else kernels[0]

    async def _loads_of(self, kernels: Collection[str]) -> dict[str, Load]:
        """The loads of those that answer."""
        loads = await asyncio.gather(*(self._told_by(kernel) for kernel in kernels))
        return {kernel: load for kernel, load in zip(kernels, loads, strict=True) if load is not None}

    async def _told_by(self, kernel: str) -> Load | None:
        try:
            async with asyncio.timeout(self._limits.load_timeout_s):
                return await self._load_of(kernel)
        except (TimeoutError, serr.SigmaError) as error:
            _log(f"load of {kernel}: {error}")
            return None

    async def spread(self, procs: Sequence[Proc], procs_per_schedd: int) -> list[str | serr.NotFound]:
        """The kernel node of each proc of a burst: those that prefer none go to all schedds in turns, so many to each;
        the next burst goes on where this one ended. NotFound for a proc of which no preferred node is there."""
        alive = await self._schedds()
        homes = spawning.in_turns(sorted(alive) or [await self._near()], procs_per_schedd, self._turn)
        loads = await self._loads_of({kernel for proc in procs for kernel in _several(proc)} & {*alive})
        self._turn += -(-sum(not proc.kernels for proc in procs) // procs_per_schedd)
        return [next(homes) if not proc.kernels else _of_burst(proc, alive, loads) for proc in procs]


def _several(proc: Proc) -> Sequence[str]:
    return proc.kernels if len(proc.kernels) > 1 else ()


def _of_burst(proc: Proc, alive: Sequence[str], loads: dict[str, Load]) -> str | serr.NotFound:
    """Where a proc of a burst goes that prefers some nodes; ``loads`` then counts it."""
    try:
        fitting = _fitting(proc, alive)
    except serr.NotFound as error:
        return error
    known = {kernel: loads[kernel] for kernel in fitting if kernel in loads}
    if not known:
        return random.choice(fitting)
    kernel = spawning.with_room(known, proc) or spawning.least_loaded(known, proc)
    loads[kernel] = loads[kernel].with_proc(proc)
    return kernel


def _fitting(proc: Proc, alive: Sequence[str]) -> list[str]:
    fitting = [kernel for kernel in proc.kernels if kernel in alive]
    if not fitting:
        raise serr.NotFound(proc.pid, f"none of the kernel nodes {', '.join(proc.kernels)} is there")
    return fitting

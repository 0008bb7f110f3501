"""The parents of a schedd's procs that are procs of other schedds: their ends are asked for (X-25).

Asked, not told: so it does not matter who of the two was lost, restarted or cut off in between.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from kernel.schedd.peers import ScheddGone
from sigmaos_ray import debug, serr

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kernel.schedd.peers import Peers
    from kernel.schedd.state import ProcTable
    from sigmaos_ray.config import Scheduling
    from sigmaos_ray.proc import Tpid

_log = debug.selector("SCHEDD")


class ParentsElsewhere:
    """Of one schedd, on its loop. ``close`` it."""

    def __init__(self, kernel_id: str, table: ProcTable, peers: Peers, limits: Scheduling) -> None:
        self._kernel_id = kernel_id
        self._table = table
        self._peers = peers
        self._limits = limits
        self._watching: asyncio.Task[None] | None = None

    def has_child(self, parent_schedd_id: str) -> None:
        """A proc was spawned whose parent that schedd owns; empty: the parent is no proc."""
        if parent_schedd_id not in ("", self._kernel_id) and self._watching is None:
            self._watching = asyncio.create_task(self._watch(), name="schedd-parents")

    async def _watch(self) -> None:
        """As long as there are such parents."""
        try:
            while parents := self._table.parents_elsewhere(self._kernel_id):
                # First: most children are collected before anybody needs to ask.
                await asyncio.sleep(self._limits.parents_poll_s)
                await asyncio.gather(*(self._look(schedd_id, pids) for schedd_id, pids in parents.items()))
        finally:
            # No await since none was seen: a child that comes from now on finds no task, and begins one.
            self._watching = None

    async def _look(self, schedd_id: str, pids: Sequence[Tpid]) -> None:
        try:
            ended = await self._peers.ask(schedd_id, "ended_of", pids, timeout_s=self._limits.peer_timeout_s)
        except ScheddGone as error:
            _log(f"parents of procs here are gone: {error}")
            ended = pids
        except serr.SigmaError as error:
            _log(f"whether parents of procs here have ended: {error}")
            return
        for pid in ended:
            self._table.parent_ended(pid)

    async def close(self) -> None:
        """Asks no more."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait({self._watching})

"""The procs of a store, as its balancer keeps them alive, and as whoever stops the store ends them.

Every group of procs is persisted, so that the next balancer goes on with what runs.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from sigmaos_ray import serr
from sigmaos_ray.ft.procgroupmgr import AsyncProcGroupMgr
from sigmaos_ray.ft.procgroups import ProcGroups, members_of
from user.kv.paths import BALANCER_PROGRAM, KVD_PROGRAM
from user.kv.tuning import BALANCER

if TYPE_CHECKING:
    from sigmaos_ray import AsyncSigmaClnt
    from sigmaos_ray.proc import Tpid
    from user.kv.config import Group
    from user.kv.paths import KvPaths


async def start_balancers(sc: AsyncSigmaClnt, paths: KvPaths) -> None:
    """Starts the balancers, and leaves them to each other: whoever leads keeps the others alive."""
    manager = AsyncProcGroupMgr(
        sc, BALANCER.balancers_count, BALANCER_PROGRAM, [paths.job], mcpu=BALANCER.mcpu, job=paths.balancers
    )
    # First, so that a balancer that is elected at once finds the group written down. ``crash`` is the manager's word
    # for letting go: its members go on.
    await manager.persist()
    await manager.start()
    await manager.crash()


async def wake_balancers(sc: AsyncSigmaClnt, paths: KvPaths) -> bool:
    """Starts the balancers of a store again of which none runs any more, as after the end of the instance that it ran
    in; what it keeps says the rest. Returns whether it did."""
    pids = await members_of(sc, paths.balancers)
    if not pids or any(await asyncio.gather(*(_runs(sc, pid) for pid in pids))):
        return False
    # Of two clients that do this at one time, the balancers of one find themselves unknown, and end.
    await start_balancers(sc, paths)
    return True


async def _runs(sc: AsyncSigmaClnt, pid: Tpid) -> bool:
    try:
        await sc.wait_exit(pid, 0, peek=True)
    except serr.Timeout:
        return True
    except serr.NotFound:
        return False
    return False


class Fleet:
    """The procs that a balancer keeps alive while it leads. ``abandon`` them."""

    def __init__(self, sc: AsyncSigmaClnt, paths: KvPaths) -> None:
        self._sc = sc
        self._paths = paths
        self._groups = ProcGroups(sc)

    async def keep_balancers(self) -> None:
        """From now on the other balancers are started again when they end. Not there: the store is being stopped."""
        await self._groups.keep_persisted(self._paths.balancers)

    async def keep(self, group: str, description: Group, mcpu: float) -> None:
        """From now on the servers of a group run."""
        args = [self._paths.job, group, str(description.members)]
        procs = self._paths.procs(group)
        await self._groups.keep(AsyncProcGroupMgr(self._sc, description.members, KVD_PROGRAM, args, mcpu, procs))

    async def end(self, group: str) -> None:
        """Ends the servers of a group; returns once they are gone."""
        await self._groups.end(self._paths.procs(group), BALANCER.end_s)

    def starts_count(self, group: str) -> int:
        """How often members of a group were started, while this balancer keeps them."""
        return self._groups.starts_count(self._paths.procs(group))

    async def fates(self, group: str) -> str:
        """What became of the members' present lives, in words: for whoever waits for them in vain."""
        pids = await members_of(self._sc, self._paths.procs(group))
        states = {info.pid: str(info.status or info.state) for info in await self._sc.procs()}
        return ", ".join(f"{pid}: {states.get(pid, 'not known')}" for pid in pids) or "nobody was started"

    async def abandon(self) -> None:
        """Keeps nobody alive any more; they go on."""
        await self._groups.abandon()

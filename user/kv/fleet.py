"""The procs of a store, as its balancer keeps them alive, and as whoever stops the store ends them.

Every group of procs is persisted, so that the next balancer goes on with what runs.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

from sigmaos_ray import debug, serr
from sigmaos_ray.ft.procgroupmgr import DIR, AsyncProcGroupMgr, decode_record
from user.kv.paths import BALANCER_PROGRAM, BALANCERS_COUNT, KVD_PROGRAM

if TYPE_CHECKING:
    from sigmaos_ray import AsyncSigmaClnt
    from sigmaos_ray.proc import Tpid
    from user.kv.config import Group
    from user.kv.paths import KvPaths

BALANCER_MCPU: Final = 10
"""Hardly anything: a balancer waits."""
_END_TIMEOUT_S: Final = 10.0
_log = debug.selector("KVBAL")


async def members(sc: AsyncSigmaClnt, name: str) -> list[Tpid]:
    """The procs of a persisted group; none if there is no such group."""
    try:
        record = decode_record(await sc.get_file(f"{DIR}/{name}"))
    except serr.NotFound:
        return []
    return [pid for pid in record.pids if pid]


async def end_group(sc: AsyncSigmaClnt, name: str) -> None:
    """Ends the procs of a persisted group that nobody keeps alive, and forgets it. Timeout if one does not end."""
    pids = await members(sc, name)
    await asyncio.gather(*(_end(sc, pid) for pid in pids))
    with contextlib.suppress(serr.NotFound):
        await sc.remove(f"{DIR}/{name}")


async def _end(sc: AsyncSigmaClnt, pid: Tpid) -> None:
    with contextlib.suppress(serr.NotFound):  # it ended before
        await sc.evict(pid, grace_s=_END_TIMEOUT_S)
        await sc.wait_exit(pid, 2 * _END_TIMEOUT_S, peek=True)


async def start_balancers(sc: AsyncSigmaClnt, paths: KvPaths) -> None:
    """Starts the balancers, and leaves them to each other: whoever leads keeps the others alive."""
    manager = AsyncProcGroupMgr(
        sc, BALANCERS_COUNT, BALANCER_PROGRAM, [paths.job], mcpu=BALANCER_MCPU, job=paths.balancers
    )
    await manager.persist()
    await manager.start()
    await manager.crash()


class Fleet:
    """The groups of procs that a balancer keeps alive while it leads."""

    def __init__(self, sc: AsyncSigmaClnt, paths: KvPaths) -> None:
        self._sc = sc
        self._paths = paths
        self._managers: dict[str, AsyncProcGroupMgr] = {}

    async def keep_balancers(self) -> None:
        """From now on the other balancers are started again when they end."""
        await self._keep(self._paths.balancers, None)

    async def keep(self, group: str, description: Group, mcpu: float) -> None:
        """From now on the servers of a group run."""
        args = [self._paths.job, group, str(description.members)]
        name = self._paths.procs(group)
        await self._keep(name, AsyncProcGroupMgr(self._sc, description.members, KVD_PROGRAM, args, mcpu, name))

    async def _keep(self, name: str, fresh: AsyncProcGroupMgr | None) -> None:
        if name in self._managers:
            return
        try:
            manager = await AsyncProcGroupMgr.recover_job(self._sc, name)
        except serr.NotFound:
            if fresh is None:
                return
            manager = fresh
            await manager.persist()
        self._managers[name] = manager
        await manager.start()

    async def end(self, group: str) -> None:
        """Ends the servers of a group."""
        name = self._paths.procs(group)
        manager = self._managers.pop(name, None)
        if manager is None:
            await end_group(self._sc, name)
        else:
            await manager.stop()

    def starts_count(self, group: str) -> int:
        """How often members of a group were started."""
        manager = self._managers.get(self._paths.procs(group))
        return manager.nstart() if manager is not None else 0

    async def fates(self, group: str) -> str:
        """What became of the members' present lives, in words."""
        pids = await members(self._sc, self._paths.procs(group))
        known = {info.pid: str(info.status or info.state) for info in await self._sc.procs()}
        return ", ".join(f"{pid}: {known.get(pid, 'not known')}" for pid in pids) or "nobody was started"

    async def abandon(self) -> None:
        """Keeps nobody alive any more; they go on."""
        managers = list(self._managers.values())
        self._managers.clear()
        for manager in managers:
            await manager.crash()

"""Persisted groups of procs, by name: kept alive by one client after the other, ended by any."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from sigmaos_ray import serr
from sigmaos_ray.ft.procgroupmgr import DIR, AsyncProcGroupMgr, decode_record

if TYPE_CHECKING:
    from sigmaos_ray.proc import Tpid
    from sigmaos_ray.sigmaclnt import AsyncSigmaClnt


async def members_of(sc: AsyncSigmaClnt, job: str) -> list[Tpid]:
    """The present lives of a persisted group's members, or the last ones; none if there is no such group.

    A member that is not among them is nobody's: a manager that died before it wrote the pid down started it, and
    whoever ends the group will not know of it. It has to end by itself.
    """
    try:
        record = decode_record(await sc.get_file(f"{DIR}/{job}"))
    except serr.NotFound:
        return []
    return [pid for pid in record.pids if pid]


async def end_group(sc: AsyncSigmaClnt, job: str, grace_s: float) -> None:
    """Ends the members of a persisted group, whoever keeps it, and forgets it. Returns once all are gone: what does not
    heed its eviction is killed after ``grace_s`` seconds. Timeout if one is there after twice that time. A group that
    is not there is fine. A client that keeps it alive sees a member evicted, and starts none again."""
    # The record goes last: after a failure in the middle, another call still finds the members in it.
    pids = await members_of(sc, job)
    await asyncio.gather(*(_end(sc, pid, grace_s) for pid in pids))
    with contextlib.suppress(serr.NotFound):
        await sc.remove(f"{DIR}/{job}")


async def _end(sc: AsyncSigmaClnt, pid: Tpid, grace_s: float) -> None:
    with contextlib.suppress(serr.NotFound):  # it ended before
        await sc.evict(pid, grace_s=grace_s)
        # Only looked at: the status is for the client that spawned the proc, and may still keep the group.
        await sc.wait_exit(pid, 2 * grace_s, peek=True)


class ProcGroups:
    """The persisted groups that one client keeps alive. ``end`` them, or ``abandon`` them: then their members go on,
    and the next client that keeps them takes them on."""

    def __init__(self, sc: AsyncSigmaClnt) -> None:
        self._sc = sc
        self._managers: dict[str, AsyncProcGroupMgr] = {}

    @property
    def jobs(self) -> list[str]:
        """The names of the groups that are kept alive."""
        return list(self._managers)

    async def keep(self, manager: AsyncProcGroupMgr) -> None:
        """From now on the group of ``manager.job`` is kept alive: the persisted one with its members that run, or else
        this one, not started yet, which is persisted now. Returns once its members run, or failed for the first time.
        One that is kept already is fine. Inval for one that cannot be persisted."""
        if not manager.job or not await self.keep_persisted(manager.job):
            await manager.persist()
            await self._start(manager)

    async def keep_persisted(self, job: str) -> bool:
        """Like ``keep``, if there is a persisted group of that name; else False."""
        if job in self._managers:
            return True
        try:
            manager = await AsyncProcGroupMgr.recover_job(self._sc, job)
        except serr.NotFound:
            return False
        await self._start(manager)
        return True

    async def _start(self, manager: AsyncProcGroupMgr) -> None:
        # First of all, so that a start that fails half-way is ended, or abandoned, like any other.
        self._managers[manager.job] = manager
        await manager.start()

    async def end(self, job: str, grace_s: float) -> None:
        """Ends a group, kept here or by nobody; returns once its members are gone. See ``end_group``."""
        manager = self._managers.pop(job, None)
        if manager is None:
            await end_group(self._sc, job, grace_s)
        else:
            await manager.stop()

    def starts_count(self, job: str) -> int:
        """How often members of a group that is kept here were started; 0 for another one."""
        manager = self._managers.get(job)
        return manager.nstart() if manager is not None else 0

    async def abandon(self) -> None:
        """Keeps no group alive any more. May be repeated."""
        managers = list(self._managers.values())
        self._managers.clear()
        for manager in managers:
            await manager.crash()

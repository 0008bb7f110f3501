"""The task server (FT-1): durable tasks at ``name/fttask/<id>``. ``FtTaskSrvMgr`` starts it, in a group that elects.

The one that leads serves; what it writes carries its fence, so that a deposed one changes nothing any more.
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Final

from sigmaos_ray import AsyncSigmaClnt, SigmaClnt, Status, crash, debug
from sigmaos_ray.ft.fttask.names import leader_pathname, make_dirs, server_pathname, state_pathname
from sigmaos_ray.ft.fttask.table import TaskTable
from sigmaos_ray.leaderclnt import AsyncLeaderClnt
from sigmaos_ray.sigmasrv import SigmaSrv
from user.fttask_srv.journal import Journal
from user.fttask_srv.service import TaskSrv

USAGE: Final = "usage: fttask_srv JOB SERVICE_ID"
LOST_EXIT_CODE: Final = 3
_log = debug.selector("FTTASKSRV")


def main(argv: list[str]) -> Status | None:
    if len(argv) != 2:
        sys.exit(USAGE)
    service_id = argv[1]
    with SigmaClnt() as sc:
        sc.started()
        leader = AsyncLeaderClnt(sc.asynchronous, leader_pathname(service_id))
        if not sc.run(_lead(sc.asynchronous, leader, service_id)):
            return Status.evicted()
        table = TaskTable()
        journal = Journal(sc.asynchronous, state_pathname(service_id), lambda error: _end(str(error)))
        sc.run(journal.load(table))
        # Calls that wait for tasks are no reason to stay.
        server = SigmaSrv(server_pathname(service_id), TaskSrv(table, journal), sc=sc, replace=True, drain_s=0)
        with server, crash.arm("FTTASKSRV_CRASH"), crash.arm("FTTASKSRV_PARTITION", lambda: sc.disconnect("name")):
            _log(f"{service_id}: serves, epoch {leader.fence.epoch}")
            sc.wait_evict()
        sc.run(_resign(journal, leader))
        return Status.evicted()


async def _lead(sc: AsyncSigmaClnt, leader: AsyncLeaderClnt, service_id: str) -> bool:
    """Waits until this server leads; False if it is evicted first."""
    state = state_pathname(service_id)
    for directory in (server_pathname(service_id).rpartition("/")[0], state):
        await make_dirs(sc, directory)
    leading = asyncio.create_task(leader.lead_and_fence(service_id.encode(), [state]), name="fttask-lead")
    evicted = asyncio.create_task(sc.wait_evict(), name="fttask-evicted")
    tasks: set[asyncio.Task[object]] = {leading, evicted}
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if not leading.done():
            return False
        leading.result()
        _Watch.of(leader)
        return True
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


class _Watch:
    """Ends the process once it leads no more: it must not answer from what others change now."""

    task: asyncio.Task[None] | None = None

    @classmethod
    def of(cls, leader: AsyncLeaderClnt) -> None:
        cls.task = asyncio.create_task(cls._run(leader), name="fttask-watch")

    @staticmethod
    async def _run(leader: AsyncLeaderClnt) -> None:
        await leader.lost.wait()
        _end("leads no more")

    @classmethod
    async def stop(cls) -> None:
        if cls.task is not None:
            cls.task.cancel()
            await asyncio.wait({cls.task})


async def _resign(journal: Journal, leader: AsyncLeaderClnt) -> None:
    await journal.close()
    await _Watch.stop()
    await leader.release_leadership()
    await leader.unfence()


def _end(why: str) -> None:
    """What is in memory may not be what is written: only a new life helps."""
    debug.error(f"fttask: {why}")
    os._exit(LOST_EXIT_CODE)

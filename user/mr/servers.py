"""A job's task servers, for whoever ends them: its client, ``stop``, or, if the client died, the coordinator."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from sigmaos_ray import serr
from sigmaos_ray.ft.fttask import AsyncFtTaskSrvMgr
from sigmaos_ray.ft.procgroupmgr import AsyncProcGroupMgr

if TYPE_CHECKING:
    from sigmaos_ray import AsyncSigmaClnt
    from user.mr.paths import MrPaths


async def end_group(sc: AsyncSigmaClnt, group: str) -> None:
    """Ends a group of procs, whoever keeps it. One that is not there is fine."""
    with contextlib.suppress(serr.NotFound):
        await (await AsyncProcGroupMgr.recover_job(sc, group)).stop()


async def end_servers(sc: AsyncSigmaClnt, paths: MrPaths) -> None:
    """Ends a job's task servers, with all that they keep. May be repeated."""
    for group in paths.server_groups():
        await end_group(sc, group)
    for service_id in (paths.map_tasks, paths.reduce_tasks):
        await AsyncFtTaskSrvMgr(sc, service_id).clear()

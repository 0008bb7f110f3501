"""A job's procs, for whoever ends them: its client, ``stop``, or, if the client died, the coordinator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sigmaos_ray.ft.fttask import AsyncFtTaskSrvMgr
from sigmaos_ray.ft.procgroups import end_group
from user.mr.tuning import COORD

if TYPE_CHECKING:
    from sigmaos_ray import AsyncSigmaClnt
    from user.mr.paths import MrPaths


async def end_coordinators(sc: AsyncSigmaClnt, paths: MrPaths) -> None:
    """Ends a job's coordinators; returns once they are gone. May be repeated."""
    await end_group(sc, paths.group, COORD.end_s)


async def end_servers(sc: AsyncSigmaClnt, paths: MrPaths) -> None:
    """Ends a job's task servers, with all that they keep. May be repeated."""
    # The procs first: a server that lives would make its directory again.
    for group in paths.server_groups():
        await end_group(sc, group, COORD.end_s)
    for service_id in (paths.map_tasks, paths.reduce_tasks):
        await AsyncFtTaskSrvMgr(sc, service_id).clear()

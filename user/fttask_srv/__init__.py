"""The task server (FT-1): durable tasks at ``name/fttask/<id>``. ``FtTaskSrvMgr`` starts it, in a group that elects.

The one that leads serves. What it writes carries its fence, so that one that was deposed changes nothing any more.

state    tasks and their moves
journal  where changes are kept
service  the RPCs
"""

from __future__ import annotations

import sys
from typing import Final

from sigmaos_ray import AsyncSigmaClnt, SigmaClnt, Status, debug
from sigmaos_ray.electsrv import serve_elected
from sigmaos_ray.ft.fttask.paths import checked_id, leader_pathname, server_pathname, state_pathname
from sigmaos_ray.ft.leading import Leadership
from user.fttask_srv.journal import TaskJournal
from user.fttask_srv.service import TaskSrv
from user.fttask_srv.state import TaskTable

USAGE: Final = "usage: fttask_srv JOB SERVICE_ID"
_log = debug.selector("FTTASKSRV")


def main(argv: list[str]) -> Status:
    """Serves while it leads; evicted, it resigns. ``JOB`` is the name of its group of procs, which comes first."""
    if len(argv) != 2:
        sys.exit(USAGE)
    service_id = checked_id(argv[1])
    pathname = server_pathname(service_id)
    with SigmaClnt() as sc:
        server = _TaskServer(sc.asynchronous, service_id)
        # Acquisitions may wait for ever: they are no reason to stay, and their clients repeat them.
        return serve_elected(
            sc, pathname, server, crashes="FTTASKSRV_CRASH", partitions="FTTASKSRV_PARTITION", drain_s=0
        )


class _TaskServer:
    """The parts of one server. ``start`` it, and ``stop`` it if it did."""

    def __init__(self, sc: AsyncSigmaClnt, service_id: str) -> None:
        self._sc = sc
        self._service_id = service_id
        self._state = state_pathname(service_id)
        self._leadership = Leadership(sc, leader_pathname(service_id), [self._state])
        self._journal = TaskJournal(sc, self._state, lambda error: self._leadership.die(str(error)))
        self.services: tuple[object, ...] = ()
        """What it offers, once it leads."""

    async def start(self) -> bool:
        """Returns once this server leads, and knows what is written; False if it is evicted before."""
        for directory in (server_pathname(self._service_id).rpartition("/")[0], self._state):
            await self._sc.makedirs(directory)
        if not await self._leadership.lead():
            return False
        # Read only now: what the leader before this one still had on its way is refused from here on.
        table = TaskTable()
        await self._journal.load(table)
        self.services = (TaskSrv(table, self._journal),)
        _log(f"{self._service_id}: serves, epoch {self._leadership.fence.epoch}")
        return True

    async def stop(self) -> None:
        """Writes what is to be written, and resigns."""
        await self._journal.close()
        await self._leadership.resign()

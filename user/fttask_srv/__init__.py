"""The task server (FT-1): durable tasks at ``name/fttask/<id>``. ``FtTaskSrvMgr`` starts it, in a group that elects.

The one that leads serves. What it writes carries its fence, so that one that was deposed changes nothing any more.

state    tasks and their moves
journal  where changes are kept
service  the RPCs
"""

from __future__ import annotations

import sys
from typing import Final

from sigmaos_ray import SigmaClnt, Status, crash, debug
from sigmaos_ray.ft.fttask.paths import leader_pathname, server_pathname, state_pathname
from sigmaos_ray.ft.leading import Leadership
from sigmaos_ray.sigmasrv import SigmaSrv
from user.fttask_srv.journal import TaskJournal
from user.fttask_srv.service import TaskSrv
from user.fttask_srv.state import TaskTable

USAGE: Final = "usage: fttask_srv JOB SERVICE_ID"
_log = debug.selector("FTTASKSRV")


def main(argv: list[str]) -> Status | None:
    """Serves while it leads; evicted, it resigns. ``JOB`` is the name of its group of procs, which comes first."""
    if len(argv) != 2:
        sys.exit(USAGE)
    service_id = argv[1]
    with SigmaClnt() as sc:
        sc.started()
        state = state_pathname(service_id)
        for directory in (server_pathname(service_id).rpartition("/")[0], state):
            sc.makedirs(directory)
        leadership = Leadership(sc.asynchronous, leader_pathname(service_id), [state])
        if not sc.run(leadership.lead()):
            return Status.evicted()
        table = TaskTable()
        journal = TaskJournal(sc.asynchronous, state, lambda error: leadership.die(str(error)))
        sc.run(journal.load(table))
        # Acquisitions may wait for ever: they are no reason to stay, and their clients repeat them.
        server = SigmaSrv(server_pathname(service_id), TaskSrv(table, journal), sc=sc, replace=True, drain_s=0)
        with server, crash.arm("FTTASKSRV_CRASH"), crash.arm("FTTASKSRV_PARTITION", lambda: sc.disconnect("name")):
            _log(f"{service_id}: serves, epoch {leadership.fence.epoch}")
            sc.wait_evict()
        sc.run(journal.close())
        sc.run(leadership.resign())
        return Status.evicted()

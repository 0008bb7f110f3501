"""A task server without schedd: ``python coordination_tasks.py STATE_FILE REALM SERVICE_ID``. The parts are those of
the proc ``fttask_srv``; it ends with its standard input, and by itself once it leads no more."""

from __future__ import annotations

import os
import sys
import threading

from sigmaos_ray import SigmaClnt, serr
from sigmaos_ray.config import ProcEnv
from sigmaos_ray.ft.fttask.paths import leader_pathname, server_pathname, state_pathname
from sigmaos_ray.leaderclnt import LeaderClnt
from sigmaos_ray.sigmasrv import SigmaSrv
from user.fttask_srv.journal import TaskJournal
from user.fttask_srv.service import TaskSrv
from user.fttask_srv.state import TaskTable


def main(state_file: str, realm: str, service_id: str) -> None:
    with SigmaClnt(ProcEnv(pid=f"tasks-{os.getpid()}", realm=realm, state_file=state_file)) as sc:
        state = state_pathname(service_id)
        for directory in (server_pathname(service_id).rpartition("/")[0], state):
            sc.makedirs(directory)
        leader = LeaderClnt(sc, leader_pathname(service_id))
        leader.lead_and_fence(b"", [state])
        threading.Thread(target=lambda: leader.lost.wait() and os._exit(3), daemon=True).start()
        table = TaskTable()
        journal = TaskJournal(sc.asynchronous, state, lambda _: os._exit(3))
        sc.run(journal.load(table))
        with SigmaSrv(server_pathname(service_id), TaskSrv(table, journal), sc=sc, replace=True):
            sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except serr.SigmaError as error:  # started anew, until its servers are there again
        print(f"tasks: {error}", file=sys.stderr)
        os._exit(4)

"""What a process does with a client ahead of the proc that it is for."""

from __future__ import annotations

import socket
from typing import Final

from sigmaos_ray.config import ProcEnv
from sigmaos_ray.procclnt import lease, reports
from sigmaos_ray.sigmaclnt.blocking import SigmaClnt

_PID: Final = "rehearsal"


def rehearse() -> None:
    """Goes through the life of a proc that says that it started, and how it ends, without a trace. A forked process
    shares its memory with others until it writes there, and each first write takes the system some time: this takes it
    while nobody waits. For a process that is not a proc's yet."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        lease.install(lease.ProcLease(_PID, ours))
        try:
            with SigmaClnt(ProcEnv(pid=_PID)) as sc:
                sc.started()
                sc.clnt_exit_ok()
        finally:
            lease.install(None)
            reports.take(_PID)

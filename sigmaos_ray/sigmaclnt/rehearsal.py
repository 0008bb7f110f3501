"""What is done with a client ahead of procs, in the process that theirs are forked from."""

from __future__ import annotations

import socket
from typing import Final

from sigmaos_ray import config, serr
from sigmaos_ray.config import ProcEnv
from sigmaos_ray.pb.sessp_pb2 import Frames, Reply, Welcome
from sigmaos_ray.pb.sigmap_pb2 import Rattach, Rgetfile
from sigmaos_ray.procclnt import lease, reports
from sigmaos_ray.sessp.link import GRPC, forced_kind
from sigmaos_ray.sessp.scripted import answer_at
from sigmaos_ray.sigmaclnt.blocking import SigmaClnt
from sigmaos_ray.sigmap import Endpoint

_PID: Final = "rehearsal"
_ADDRESS: Final = "rehearsal:1"
_ANSWERS: Final = (
    Frames(welcome=Welcome(server_id=1, accepted=True)),
    Frames(replies=[Reply(seqno=1, attach=Rattach())]),
    Frames(replies=[Reply(seqno=2, getfile=Rgetfile(data=b"x"))]),
    Frames(bye=True),
)


def rehearse() -> None:
    """Goes through the life of a proc that says that it started, reads a file, and says how it ends, without a trace.
    For a process that is no proc's."""
    # Only a plain connection is answered here: any other would wait for a server that there is not.
    reads = _may_be_plain()
    ours, theirs = socket.socketpair()
    if reads:
        answer_at(_ADDRESS, config.current(), _ANSWERS)
    with ours, theirs:
        lease.install(lease.ProcLease(_PID, ours))
        try:
            with SigmaClnt(ProcEnv(pid=_PID, named=Endpoint(addrs=(_ADDRESS,)))) as sc:
                sc.started()
                if reads:
                    sc.get_file("name/f")
                sc.clnt_exit_ok()
        finally:
            lease.install(None)
            reports.take(_PID)


def _may_be_plain() -> bool:
    try:
        return forced_kind() != GRPC
    except serr.Inval:  # the proc will be told
        return False

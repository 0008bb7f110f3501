"""An echo server that records what ``SIGMAPERF`` asks for under ECHO_SERVER: where its time goes, and calls over time.

SIGMAPERF="ECHO_SERVER_PPROF;ECHO_SERVER_TPT;" sigmaos spawn user.example_echo_server.profiled PATHNAME
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from sigmaos_ray import SigmaClnt
from sigmaos_ray.perf import Perf
from sigmaos_ray.sigmasrv import SigmaSrv
from user.example_echo_server import server
from user.example_echo_server.echo_pb2 import EchoReply, EchoRequest  # noqa: TC001  # read at run time

if TYPE_CHECKING:
    from sigmaos_ray.rpcsrv import RpcContext

USAGE = "usage: user.example_echo_server.profiled PATHNAME"


class EchoSrv(server.EchoSrv):
    """Counts its calls for ``_TPT``."""

    def __init__(self, perf: Perf) -> None:
        self._perf = perf

    async def Echo(self, ctx: RpcContext, request: EchoRequest) -> EchoReply:
        """See ``server.EchoSrv.Echo``."""
        self._perf.tpt_tick(1)
        return await super().Echo(ctx, request)


def main(argv: list[str]) -> None:
    """Serves until it is evicted; the records are written at the end."""
    if len(argv) != 1:
        sys.exit(USAGE)
    with SigmaClnt() as sc, Perf("ECHO_SERVER") as perf:
        sc.makedirs(argv[0].rpartition("/")[0])
        with SigmaSrv(argv[0], EchoSrv(perf), sc=sc):
            sc.started()
            sc.wait_evict()

"""``Observe``: RPCs of every server for those who look at it as it runs: its selectors, and profiles of its process."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from sigmaos_ray import debug, serr
from sigmaos_ray.pb import observe_pb2 as pb
from sigmaos_ray.perf import recording, remote
from sigmaos_ray.rpcsrv import RpcContext, immediate

if TYPE_CHECKING:
    from sigmaos_ray.auth.gate import Gate


class Observe:
    """The process that a server lives in, looked at from outside. Whoever may call the server may do this."""

    def __init__(self, gate: Gate | None = None) -> None:
        self._gate = gate

    @immediate
    def Generations(self, ctx: RpcContext, request: pb.GenerationsRequest) -> pb.GenerationsReply:
        """What the server knows of which credentials are good, so that others learn of what was revoked."""
        return pb.GenerationsReply(generations="" if self._gate is None else self._gate.verifier.generations)

    async def Selectors(self, ctx: RpcContext, request: pb.SelectorsRequest) -> pb.SelectorsReply:
        """Returns the debug selectors that are on, after it has changed them if ``request.change``. A change lasts as
        long as the process."""
        if request.change:
            debug.select(request.selectors)
            debug.always(f"selectors: {debug.selected() or 'none'}")
        return pb.SelectorsReply(selectors=debug.selected(), who=debug.who())

    def Profile(self, ctx: RpcContext, request: pb.ProfileRequest) -> pb.ProfileReply:
        """Profiles this process for ``request.seconds`` and blocks for it, in a thread: the server goes on. Inval for a
        profile that cannot be taken, Exists while another one is."""
        if request.pid:
            raise serr.Inval(request.pid, "this server has no procs: ask its schedd")
        kind = remote.kind_of(request.kind)
        with tempfile.TemporaryDirectory(prefix="sigmaos-perf-") as directory:
            result = recording.take(kind, request.seconds, request.rate_hz, Path(directory) / "raw")
        return pb.ProfileReply(stacks=result.profile.pack(), unit=result.profile.unit, how=result.how, who=debug.who())

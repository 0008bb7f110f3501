"""Servers of a group of which one leads and serves: standing by, serving, and resigning (``ft.leading``).

A program of such a group says what it does when it begins to lead, and when it stops; the rest is ``serve_elected``:

    def main(argv: list[str]) -> Status:
        with SigmaClnt() as sc:
            member = Member(sc.asynchronous)
            return serve_elected(sc, "name/app", member, crashes=..., partitions=...)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from sigmaos_ray import crash
from sigmaos_ray.proc import Status
from sigmaos_ray.sigmasrv import SigmaSrv

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sigmaos_ray.protsrv.node import Node
    from sigmaos_ray.sigmaclnt import SigmaClnt


class ElectedMember(Protocol):
    """One member of a group, with a ``Leadership`` of its own. Its coroutines run on the client's loop."""

    @property
    def services(self) -> Sequence[object]:
        """The RPC services that it offers, once it has started."""

    async def start(self) -> bool:
        """Blocks until this member leads, and is ready to serve. False, holding nothing, if its proc is evicted
        first."""

    async def stop(self) -> None:
        """Writes what is to be written, and resigns: no call comes any more. Only after ``start`` returned True."""


def serve_elected(
    sc: SigmaClnt,
    pn: str,
    member: ElectedMember,
    *,
    crashes: str,
    partitions: str,
    host: str | None = None,
    drain_s: float | None = None,
    devices: Sequence[Node] = (),
) -> Status:
    """Has a member stand by, then serve at ``pn`` while it leads, in place of whoever served there before. Blocks until
    the proc is evicted; returns its status. When it is deposed, its ``Leadership`` ends the process.

    ``crashes`` and ``partitions``: its selectors of ``SIGMAFAIL``. The others are those of ``SigmaSrv``. Raises what
    ``start`` and ``stop`` raise.
    """
    sc.started()
    if not sc.run(member.start()):
        return Status.evicted()
    # ``replace``: the leader before this one may have left its name, which stays until its lease ends.
    server = SigmaSrv(pn, *member.services, sc=sc, host=host, replace=True, drain_s=drain_s, devices=devices)
    with server, crash.arm(crashes), crash.arm(partitions, lambda: sc.disconnect("name")):
        sc.wait_evict()
    # Only now, when no call runs: what it acknowledged is written before another one may lead.
    sc.run(member.stop())
    return Status.evicted()

"""Pipes as nodes (R-12)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from kernel.ux.node import UxNode
from sigmaos_ray import serr
from sigmaos_ray.protsrv.pipe import Pipe

if TYPE_CHECKING:
    from kernel.ux.node import Parent
    from kernel.ux.shared import UxShared
    from kernel.ux.state import HostStat
    from sigmaos_ray.protsrv.node import OpenFile, OpenHow
    from sigmaos_ray.rpcsrv import Caller
    from sigmaos_ray.sigmap import Stat


class UxPipe(UxNode):
    """A pipe of this server: a FIFO on the host, for its name; what it holds is in memory."""

    def __init__(self, shared: UxShared, name: str, host: HostStat, parent: Parent | None) -> None:
        super().__init__(shared, name, host, parent)
        self._pipe = Pipe(name)

    async def stat(self, caller: Caller) -> Stat:
        return msgspec.structs.replace(await super().stat(caller), length=self._pipe.length)

    async def open(self, caller: Caller, how: OpenHow) -> OpenFile:
        # A pipe without a name would wait for ever for somebody at its other end.
        if self.parent is None:
            raise serr.NotFound(self._name)
        return await self._pipe.open(how.mode, self.shared.check)

    def gone(self) -> None:
        super().gone()
        self._pipe.remove()

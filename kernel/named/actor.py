"""named's Ray actor: a shell around a candidate."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from kernel.named.descriptor import SERVICE
from kernel.named.server import NamedServer
from kernel.shell import KernelActor, KernelArgs, KernelService
from sigmaos_ray import debug, serr

if TYPE_CHECKING:
    from sigmaos_ray.sigmap import Endpoint


class NamedCandidate(NamedServer):
    """Started once it stands for election: it may have to wait for long, and leads by itself when it is elected."""

    _leading: asyncio.Task[None] | None = None

    async def start(self) -> Endpoint:
        endpoint = await self.stand()
        self._leading = asyncio.create_task(self._lead(), name="named-lead")
        return endpoint

    async def _lead(self) -> None:
        try:
            await self.lead()
        except serr.SigmaError as error:
            self._lost(str(error))
        except Exception as error:  # noqa: BLE001  # a candidate that cannot lead must make room for another
            debug.error(f"named of {self._args.realm}: {error!r}")
            self._lost(repr(error))

    async def stop(self) -> None:
        if self._leading is not None:
            self._leading.cancel()
            await asyncio.wait({self._leading})
            self._leading = None
        await super().stop()


class NamedKernel(KernelActor):
    """Ends when it loses the leadership or its candidacy, so that boot starts another."""

    service = SERVICE

    def make_service(self, args: KernelArgs) -> KernelService:
        return NamedCandidate(args, on_lost=self.end)

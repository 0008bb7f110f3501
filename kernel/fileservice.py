"""What kernel services have in common that serve a tree and are found in the namespace: ux, s3, db, schedd."""

from __future__ import annotations

import abc
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, ClassVar

from kernel.shell import KernelArgs, KernelService
from sigmaos_ray import config as configuration
from sigmaos_ray.auth.gate import gate_of
from sigmaos_ray.procclnt.lives import AskSchedds
from sigmaos_ray.sigmaclnt import AsyncSigmaClnt
from sigmaos_ray.sigmap import NAMED, path
from sigmaos_ray.sigmasrv import Advertisement

if TYPE_CHECKING:
    from kernel.service import Service
    from sigmaos_ray.config import Config
    from sigmaos_ray.protsrv.server import FileServer
    from sigmaos_ray.sigmap import Endpoint


class FileService(KernelService):
    """One per node, advertised at ``name/<service>/<kernel id>``. Whoever starts it stops it.

    A subclass says what is served (``open``). What a hook pushes onto ``resources`` is closed when the service stops,
    or when the rest of its start fails: in reverse order, hence after what was pushed later.
    """

    service: ClassVar[Service]

    def __init__(self, args: KernelArgs, config: Config | None = None) -> None:
        self._args = args
        self._schedds = AskSchedds(args.proc_env(self.service.name))
        self.gate = gate_of(args.credentials.trust, args.state_dir, self._schedds)
        self._config = config or configuration.preset(args.config)
        self._resources = AsyncExitStack()

    @abc.abstractmethod
    async def open(self, resources: AsyncExitStack) -> FileServer:
        """Opens what is served; returns its server, not started yet. Raises what keeps it from that."""

    async def prepare(self, server: FileServer, resources: AsyncExitStack) -> None:
        """Called once the server answers and before the name leads to it."""

    async def settle(self) -> None:
        """Called once the name leads to it; the service is ready when this returns."""

    async def start(self) -> Endpoint:
        """Serves, then advertises: who finds the name is answered. Takes over the name of one that died."""
        async with AsyncExitStack() as resources:
            resources.push_async_callback(self._schedds.close)
            if self.gate is not None:
                resources.callback(self.gate.close)
            server = await self.open(resources)
            resources.push_async_callback(server.stop)
            endpoint = await server.start()
            await self.prepare(server, resources)
            await self._advertise(endpoint, resources)
            await self.settle()
            # Last: what was opened before a failure is closed by this block, and by `stop` only from here on.
            self._resources = resources.pop_all()
        return endpoint

    async def _advertise(self, endpoint: Endpoint, resources: AsyncExitStack) -> None:
        sc = await resources.enter_async_context(AsyncSigmaClnt(self._args.proc_env(self.service.name)))
        pathname = path.join(NAMED, self.service.name, self._args.kernel_id)
        advertisement = Advertisement(sc, pathname, endpoint, replace=True)
        resources.push_async_callback(advertisement.stop)
        await advertisement.start()

    async def stop(self) -> None:
        """Withdraws the name, so that nobody new comes, then ends the sessions and frees all. May be repeated."""
        resources, self._resources = self._resources, AsyncExitStack()
        await resources.aclose()

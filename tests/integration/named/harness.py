"""nameds on the test's loop, each test in a realm of its own."""

from __future__ import annotations

import secrets
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Self

import msgspec

from kernel.named.etcd import Etcd
from kernel.named.keys import Keys
from kernel.named.server import NamedServer
from kernel.shell import KernelArgs
from sigmaos_ray import config
from sigmaos_ray.config import ProcEnv
from sigmaos_ray.sessp.channel import close_channels
from sigmaos_ray.sigmaclnt import AsyncSigmaClnt

if TYPE_CHECKING:
    from etcd_child import EtcdChild


class Realm:
    """One realm in the session's etcd: starts nameds and clients, and ends what the test left running."""

    def __init__(self, etcd: EtcdChild) -> None:
        self.name = f"r{secrets.token_hex(4)}"
        self.endpoint = etcd.endpoint
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        self._stack.push_async_callback(close_channels)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def named(
        self,
        kernel_id: str = "sigma-1",
        election_ttl_s: int = 2,
        limits: config.Named | None = None,
        endpoints: tuple[str, ...] = (),
        store: config.Store | None = None,
    ) -> NamedServer:
        """A candidate that leads when this returns. etcd grants leases of two seconds at least."""
        args = KernelArgs(kernel_id=kernel_id, realm=self.name, etcd_endpoints=endpoints or (self.endpoint,))
        lease = config.Leases(ttl_s=2, election_ttl_s=election_ttl_s)
        changed = msgspec.structs.replace(
            config.LOCAL, lease=lease, named=limits or config.LOCAL.named, store=store or config.LOCAL.store
        )
        server = NamedServer(args, config=changed)
        self._stack.push_async_callback(server.stop)
        await server.start()
        return server

    async def clnt(self, named: NamedServer) -> AsyncSigmaClnt:
        env = ProcEnv(pid="test", realm=self.name, named=named.endpoint)
        return await self._stack.enter_async_context(AsyncSigmaClnt(env))

    async def keys(self) -> list[bytes]:
        """All keys of the realm in etcd."""
        etcd = Etcd([self.endpoint], 5)
        try:
            return [kv.key async for kv in etcd.scan(Keys(self.name).root)]
        finally:
            await etcd.close()

"""A realm of a test's own: clients by the number."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from sigmaos_ray import AsyncSigmaClnt
from sigmaos_ray.config import ProcEnv

if TYPE_CHECKING:
    from contextlib import AsyncExitStack

    from kernel.named.server import NamedServer


class Realm:
    """A named of its own, with ``name/mem``, a server in memory."""

    def __init__(self, stack: AsyncExitStack, named: NamedServer, realm: str) -> None:
        self._stack = stack
        self._named = named
        self._realm = realm

    async def clnt(self, kernel_id: str = "") -> AsyncSigmaClnt:
        """A client of its own, on a kernel node if one is named. It lives as long as the test."""
        pid = f"test-{secrets.token_hex(3)}"
        env = ProcEnv(pid=pid, realm=self._realm, named=self._named.endpoint, kernel_id=kernel_id)
        return await self._stack.enter_async_context(AsyncSigmaClnt(env))

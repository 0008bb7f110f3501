"""What outlives a server's process, over every server of this project."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest_asyncio

from sigmaos_ray.fslib import AsyncFsLib
from sigmaos_ray.testing.conformance import DurabilityTests

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from serving import Site

    from sigmaos_ray.testing.conformance import Restart


class TestDurability(DurabilityTests):
    @pytest_asyncio.fixture
    async def sc(self, own_site: Site) -> AsyncIterator[AsyncFsLib]:
        client = AsyncFsLib(own_site.proc_env())
        yield client
        await client.close_fs()

    @pytest_asyncio.fixture
    async def root(self, own_site: Site, sc: AsyncFsLib) -> str:
        pn = f"{own_site.new_base()}/t"
        await sc.mkdir(pn)
        return pn

    @pytest_asyncio.fixture
    async def restart(self, own_site: Site) -> AsyncIterator[Restart]:
        clients: list[AsyncFsLib] = []

        async def begin_anew() -> AsyncFsLib:
            own_site.restart()
            clients.append(AsyncFsLib(own_site.proc_env()))
            return clients[-1]

        yield begin_anew
        for client in clients:
            await client.close_fs()

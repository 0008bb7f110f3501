"""File servers in memory on the test's own loop, and clients of them. One of them is the root, as named would be."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest_asyncio
from fslib_servers import Servers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sigmaos_ray.fslib import AsyncFsLib


@pytest_asyncio.fixture
async def servers() -> AsyncIterator[Servers]:
    async with Servers() as several:
        yield several


@pytest_asyncio.fixture
async def sc(servers: Servers) -> AsyncFsLib:
    """A client of the root server."""
    return servers.clnt()

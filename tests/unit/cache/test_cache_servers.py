"""Connections to a cache's servers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

from sigmaos_ray.fslib.behind import Behind
from user.cache.paths import CachePaths
from user.cache.servers import CacheServers

if TYPE_CHECKING:
    from sigmaos_ray import AsyncSigmaClnt
    from sigmaos_ray.rpcclnt import InstanceRPCClnt


class Connection:
    """One that tells how often it was closed."""

    closed_count = 0

    async def close(self) -> None:
        self.closed_count += 1


async def test_a_connection_that_is_given_up_is_closed() -> None:
    """Behind the caller, as its server may say nothing."""
    behind = Behind(0.1)
    sc = cast("AsyncSigmaClnt", SimpleNamespace(core=SimpleNamespace(behind=behind)))
    servers, connection = CacheServers(sc, CachePaths("c")), Connection()
    servers._clnts["s"] = cast("InstanceRPCClnt", connection)
    await servers.forget("s")
    await servers.forget("s")
    assert connection.closed_count == 0
    await behind.settle(_done(), "after it")
    await servers.close()
    assert connection.closed_count == 1
    await behind.close()


async def _done() -> None:
    return

"""One named for all recipes, on a loop in a thread of its own: the tests are blocking."""

from __future__ import annotations

import asyncio
import secrets
import threading
from typing import TYPE_CHECKING

import msgspec
import pytest

from kernel.named.server import NamedServer
from kernel.shell import KernelArgs
from sigmaos_ray import config
from sigmaos_ray.config import ProcEnv
from sigmaos_ray.sessp.channel import close_channels

if TYPE_CHECKING:
    from collections.abc import Iterator

    from etcd_child import EtcdChild


@pytest.fixture(scope="session")
def recipes_env(etcd: EtcdChild) -> Iterator[ProcEnv]:
    """Clients of a realm of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="recipes-named")
    thread.start()
    args = KernelArgs(kernel_id="sigma-1", realm=f"r{secrets.token_hex(4)}", etcd_endpoints=(etcd.endpoint,))

    async def make() -> NamedServer:
        return NamedServer(args, config=msgspec.structs.replace(config.LOCAL))

    named = asyncio.run_coroutine_threadsafe(make(), loop).result()
    try:
        asyncio.run_coroutine_threadsafe(named.start(), loop).result()
        yield ProcEnv(pid="recipes", realm=args.realm, named=named.endpoint)
    finally:
        asyncio.run_coroutine_threadsafe(named.stop(), loop).result()
        asyncio.run_coroutine_threadsafe(close_channels(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()

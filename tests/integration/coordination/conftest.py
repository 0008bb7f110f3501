"""One named for all tests of a module, without Ray; clients by the number."""

from __future__ import annotations

import secrets
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import msgspec
import pytest_asyncio
from realm import Realm

from kernel.named.server import NamedServer
from kernel.shell import KernelArgs
from sigmaos_ray import config
from sigmaos_ray.memfs import MemFs
from sigmaos_ray.protsrv.server import FileServer
from sigmaos_ray.protsrv.watch import WatchTable
from sigmaos_ray.sessp.channel import close_channels
from sigmaos_ray.sigmap import DMMOUNT, DMSYMLINK

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from etcd_child import EtcdChild


@pytest_asyncio.fixture
async def realm(etcd: EtcdChild) -> AsyncIterator[Realm]:
    async with AsyncExitStack() as stack:
        stack.push_async_callback(close_channels)
        name = f"e{secrets.token_hex(4)}"
        args = KernelArgs(kernel_id="sigma-1", realm=name, etcd_endpoints=(etcd.endpoint,))
        limits = msgspec.structs.replace(config.LOCAL, lease=config.Leases(ttl_s=2, election_ttl_s=5))
        named = NamedServer(args, config=limits)
        stack.push_async_callback(named.stop)
        await named.start()
        fs = MemFs(WatchTable())
        memory = FileServer(fs.root, fs.watches, realm=name, fences=fs.fences, leases=fs.leases)
        endpoint = await memory.start()
        stack.push_async_callback(memory.stop)
        realm = Realm(stack, named, name)
        await (await realm.clnt()).put_file("name/mem", endpoint.to_bytes(), DMSYMLINK | DMMOUNT | 0o777)
        yield realm

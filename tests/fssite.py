"""A named with ux and s3 in it, on a loop in a thread of its own, and the state file that names them: what blocking
clients of this process, and of others, connect to."""

from __future__ import annotations

import asyncio
import secrets
import threading
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Self, TypeVar

from kernel.named.server import NamedServer
from kernel.s3.server import S3Server
from kernel.shell import KernelArgs
from kernel.ux.server import UxServer
from sigmaos_ray.instance import STATE_FILE_NAME, Instance, KernelNode
from sigmaos_ray.sessp.channel import close_channels

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from pathlib import Path

T = TypeVar("T")

KERNEL_ID = "sigma-00000001"


class Site:
    """All servers of one realm, as boot would start them. A context manager."""

    def __init__(self, state_dir: Path, etcd_endpoint: str, s3_endpoint: str) -> None:
        self.state_file = state_dir / STATE_FILE_NAME
        self.realm = f"r{secrets.token_hex(4)}"
        self.ux_root = state_dir / f"ux-{self.realm}"
        self._args: dict[str, Any] = {
            "kernel_id": KERNEL_ID,
            "realm": self.realm,
            "etcd_endpoints": (etcd_endpoint,),
            "s3_endpoint": s3_endpoint,
            "node_dir": str(state_dir),
        }
        self._stack = AsyncExitStack()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="site")

    def __enter__(self) -> Self:
        self._thread.start()
        self._run(self._start())
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._run(self._stack.aclose())
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    async def _start(self) -> None:
        self._stack.push_async_callback(close_channels)
        named = NamedServer(KernelArgs(**self._args))
        self._stack.push_async_callback(named.stop)
        endpoint = await named.start()
        for service in (UxServer, S3Server):
            server = service(KernelArgs(**self._args, named=endpoint))
            self._stack.push_async_callback(server.stop)
            await server.start()
        instance = Instance(
            realm=self.realm,
            state_dir=str(self.state_file.parent),
            boot_pid=0,
            ready=True,
            named=endpoint,
            kernel_nodes=[KernelNode(id=KERNEL_ID, host="127.0.0.1")],
        )
        self.state_file.write_bytes(instance.to_json())

"""s3 as a kernel service: buckets, served and advertised at ``name/s3/<kernel id>`` (B-1)."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from kernel.s3.nodes import S3Fs
from kernel.s3.store import S3Store
from kernel.shell import KernelArgs, KernelService
from sigmaos_ray import config as configuration
from sigmaos_ray import debug
from sigmaos_ray.config import ProcEnv
from sigmaos_ray.protsrv.server import FileServer
from sigmaos_ray.protsrv.watch import WatchTable
from sigmaos_ray.sigmaclnt import AsyncSigmaClnt
from sigmaos_ray.sigmap import S3, Endpoint, path
from sigmaos_ray.sigmasrv import Advertisement

if TYPE_CHECKING:
    from sigmaos_ray.config import Config

_log = debug.selector("S3")


class S3Server(KernelService):
    """One per node. Whoever starts it stops it."""

    def __init__(self, args: KernelArgs, config: Config | None = None) -> None:
        self._args = args
        self._config = config or configuration.current()
        self._parts = AsyncExitStack()

    async def start(self) -> Endpoint:
        """Serves, then advertises."""
        args = self._args
        async with AsyncExitStack() as parts:
            proxy = self._config.proxy
            endpoint_url, profile = args.s3_endpoint, args.s3_credentials_profile
            store = await asyncio.to_thread(S3Store, endpoint_url, profile, proxy.s3_threads)
            parts.callback(store.close)
            watches = WatchTable()
            root = S3Fs(store, watches, proxy.s3_part_bytes).root
            server = FileServer(root, watches, realm=args.realm, host=args.host, config=self._config)
            parts.push_async_callback(server.stop)
            endpoint = await server.start()
            sc = await parts.enter_async_context(AsyncSigmaClnt(self._proc_env()))
            advertisement = Advertisement(sc, path.join(S3, args.kernel_id), endpoint, replace=True)
            parts.push_async_callback(advertisement.stop)
            await advertisement.start()
            self._parts = parts.pop_all()
        _log(f"{args.s3_endpoint or 'AWS'} is served at {endpoint.addrs}")
        return endpoint

    def _proc_env(self) -> ProcEnv:
        args = self._args
        return ProcEnv(
            pid=f"s3-{args.kernel_id}",
            realm=args.realm,
            kernel_id=args.kernel_id,
            named=args.named,
            state_file=args.state_file,
            debug=args.debug,
        )

    async def stop(self) -> None:
        """Withdraws the name, ends the sessions, frees all. May be repeated."""
        parts, self._parts = self._parts, AsyncExitStack()
        await parts.aclose()

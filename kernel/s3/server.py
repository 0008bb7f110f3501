"""s3 as a kernel service: buckets, served and advertised at ``name/s3/<kernel id>`` (B-1)."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from kernel.keeping import make_directory
from kernel.s3.fs import S3Fs
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
            store = await asyncio.to_thread(S3Store, args.s3_endpoint, args.s3_credentials_profile, self._config.proxy)
            parts.push_async_callback(asyncio.to_thread, store.close)
            watches = WatchTable()
            fs = S3Fs(store, watches, make_directory(self._own_directory()))
            server = FileServer(
                fs.root, watches, realm=args.realm, host=args.host, config=self._config, fences=fs.fences
            )
            server.stats.sections["s3"] = fs.report
            parts.push_async_callback(fs.close)
            parts.push_async_callback(server.stop)
            fs.drop_abandoned_uploads()
            endpoint = await server.start()
            sc = await parts.enter_async_context(AsyncSigmaClnt(self._proc_env()))
            advertisement = Advertisement(sc, path.join(S3, args.kernel_id), endpoint, replace=True)
            parts.push_async_callback(advertisement.stop)
            await advertisement.start()
            self._parts = parts.pop_all()
        _log(f"{args.s3_endpoint or 'AWS'} is served at {endpoint.addrs}")
        return endpoint

    def _own_directory(self) -> str:
        args = self._args
        return str(Path(args.state_dir) / "s3" / args.realm / args.kernel_id) if args.state_dir else ""

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

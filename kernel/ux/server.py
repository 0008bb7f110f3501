"""ux as a kernel service: a directory of the node, served and advertised at ``name/ux/<kernel id>`` (B-4)."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from kernel.shell import KernelArgs, KernelService
from kernel.ux.fs import UxFs
from kernel.ux.store import UxStore
from sigmaos_ray import config as configuration
from sigmaos_ray import debug, serr
from sigmaos_ray.config import ProcEnv
from sigmaos_ray.protsrv.server import FileServer
from sigmaos_ray.protsrv.watch import WatchTable
from sigmaos_ray.sigmaclnt import AsyncSigmaClnt
from sigmaos_ray.sigmap import UX, Endpoint, path
from sigmaos_ray.sigmasrv import Advertisement

if TYPE_CHECKING:
    from sigmaos_ray.config import Config

_log = debug.selector("UX")


class UxServer(KernelService):
    """One per node. Whoever starts it stops it."""

    def __init__(self, args: KernelArgs, config: Config | None = None) -> None:
        self._args = args
        self._config = config or configuration.current()
        self._parts = AsyncExitStack()

    async def start(self) -> Endpoint:
        """Serves, then advertises."""
        args = self._args
        if not args.ux_root:
            raise serr.Inval("ux_root", "ux needs a directory to serve")
        async with AsyncExitStack() as parts:
            proxy = self._config.proxy
            store = UxStore(args.ux_root, proxy.ux_threads, syncs=proxy.ux_fsync)
            parts.callback(store.close)
            watches = WatchTable()
            fs = UxFs(store, watches)
            server = FileServer(
                fs.root,
                watches,
                realm=args.realm,
                host=args.host,
                config=self._config,
                fences=fs.fences,
                leases=fs.leases,
            )
            parts.push_async_callback(server.stop)
            endpoint = await server.start()
            sc = await parts.enter_async_context(AsyncSigmaClnt(self._proc_env()))
            advertisement = Advertisement(sc, path.join(UX, args.kernel_id), endpoint, replace=True)
            parts.push_async_callback(advertisement.stop)
            await advertisement.start()
            self._parts = parts.pop_all()
        _log(f"{args.ux_root} is served at {endpoint.addrs}")
        return endpoint

    def _proc_env(self) -> ProcEnv:
        args = self._args
        return ProcEnv(
            pid=f"ux-{args.kernel_id}",
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

"""db as a kernel service: a database, served by RPC and advertised at ``name/db/<kernel id>`` (B-5)."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from kernel.db.service import DbSrv
from kernel.db.store import DbStore
from kernel.shell import KernelArgs, KernelService
from sigmaos_ray import config as configuration
from sigmaos_ray import debug, serr
from sigmaos_ray.config import ProcEnv
from sigmaos_ray.memfs import MemFs
from sigmaos_ray.protsrv.server import FileServer
from sigmaos_ray.protsrv.watch import WatchTable
from sigmaos_ray.sigmaclnt import AsyncSigmaClnt
from sigmaos_ray.sigmap import DB, ROOT_REALM, Endpoint, path
from sigmaos_ray.sigmasrv import Advertisement

if TYPE_CHECKING:
    from sigmaos_ray.config import Config

_log = debug.selector("DB")


class DbServer(KernelService):
    """One per node. Whoever starts it stops it."""

    def __init__(self, args: KernelArgs, config: Config | None = None) -> None:
        self._args = args
        self._config = config or configuration.current()
        self._parts = AsyncExitStack()

    async def start(self) -> Endpoint:
        """Connects, serves, then advertises. Unreachable if the database does not answer."""
        args = self._args
        async with AsyncExitStack() as parts:
            store = DbStore(database_url(args), self._config.proxy)
            parts.callback(store.close)
            await asyncio.to_thread(store.check)
            watches = WatchTable()
            server = FileServer(
                MemFs(watches).root,
                watches,
                realm=args.realm,
                services=[DbSrv(store)],
                host=args.host,
                config=self._config,
            )
            parts.push_async_callback(server.stop)
            endpoint = await server.start()
            sc = await parts.enter_async_context(AsyncSigmaClnt(self._proc_env()))
            parts.push_async_callback(server.drain, self._config.rpc.drain_s)
            advertisement = Advertisement(sc, path.join(DB, args.kernel_id), endpoint, replace=True)
            parts.push_async_callback(advertisement.stop)
            await advertisement.start()
            self._parts = parts.pop_all()
        _log(f"{store.shown_url} is served at {endpoint.addrs}")
        return endpoint

    def _proc_env(self) -> ProcEnv:
        args = self._args
        return ProcEnv(
            pid=f"db-{args.kernel_id}",
            realm=args.realm,
            kernel_id=args.kernel_id,
            named=args.named,
            state_file=args.state_file,
            debug=args.debug,
        )

    async def stop(self) -> None:
        """Withdraws the name, finishes what runs, ends the sessions, frees all. May be repeated."""
        parts, self._parts = self._parts, AsyncExitStack()
        await parts.aclose()


def database_url(args: KernelArgs) -> str:
    """The configured database, which is the root realm's; without one, and for other tenants, a SQLite file of the
    realm's own in the state directory, which is made."""
    if args.db_url and args.realm == ROOT_REALM:
        return args.db_url
    if not args.state_dir:
        raise serr.Inval("db_url", "db needs a database's URL, or a state directory for a file of SQLite's")
    args.db_file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return f"sqlite:///{args.db_file}"

"""db as a kernel service: a database, served by RPC and advertised at ``name/db/<kernel id>`` (B-5)."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from kernel.db.descriptor import SERVICE
from kernel.db.service import DbSrv
from kernel.db.store import DbStore
from kernel.fileservice import FileService
from sigmaos_ray import debug, serr
from sigmaos_ray.memfs import MemFs
from sigmaos_ray.protsrv.server import FileServer
from sigmaos_ray.protsrv.watch import WatchTable
from sigmaos_ray.sigmap import ROOT_REALM
from sigmaos_ray.tls.identity import identity_at

if TYPE_CHECKING:
    from contextlib import AsyncExitStack

    from kernel.shell import KernelArgs

_log = debug.selector("DB")


class DbServer(FileService):
    """Serves ``database_url(args)``. Its start raises Unreachable if that database does not answer."""

    service = SERVICE

    async def open(self, resources: AsyncExitStack) -> FileServer:
        args = self._args
        store = DbStore(database_url(args), self._config.proxy)
        resources.callback(store.close)
        # Before the name is there: a database that does not answer fails the start, which says so.
        await asyncio.to_thread(store.check)
        watches = WatchTable()
        _log(f"serves {store.shown_url}")
        services = [DbSrv(store)]
        return FileServer(
            MemFs(watches).root,
            watches,
            realm=args.realm,
            services=services,
            host=args.host,
            tls=identity_at(args.tls),
            config=self._config,
            gate=self.gate,
        )

    async def prepare(self, server: FileServer, resources: AsyncExitStack) -> None:
        # Statements that run are finished at the stop: whether one that was cut off took effect, nobody could tell.
        resources.push_async_callback(server.drain, self._config.rpc.drain_s)


def database_url(args: KernelArgs) -> str:
    """The configured database, which is the root realm's; without one, and for other tenants, a SQLite file of the
    realm's own in the state directory, which is made."""
    is_granted = args.realm == ROOT_REALM or (args.terms is not None and args.terms.database)
    if args.db_url and is_granted:
        return args.db_url
    if not args.state_dir:
        raise serr.Inval("db_url", "db needs a database's URL, or a state directory for a file of SQLite's")
    file = Path(args.state_dir) / SERVICE.name / f"{args.realm}.sqlite"  # its write-ahead log stands beside it
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return f"sqlite:///{file}"

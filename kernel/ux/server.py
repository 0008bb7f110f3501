"""ux as a kernel service: a directory of the node, served and advertised at ``name/ux/<kernel id>`` (B-4)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from kernel.fileservice import FileService
from kernel.ux.descriptor import SERVICE
from kernel.ux.fs import UxFs
from kernel.ux.store import UxStore
from sigmaos_ray import debug, serr
from sigmaos_ray.protsrv.server import FileServer
from sigmaos_ray.protsrv.watch import WatchTable
from sigmaos_ray.sigmap import ROOT_REALM
from sigmaos_ray.tls.identity import identity_at

if TYPE_CHECKING:
    from contextlib import AsyncExitStack

    from kernel.shell import KernelArgs

_log = debug.selector("UX")


class UxServer(FileService):
    """Serves ``directory_of(args)``, which is made. Inval if the arguments name none."""

    service = SERVICE

    async def open(self, resources: AsyncExitStack) -> FileServer:
        directory, proxy = directory_of(self._args), self._config.proxy
        # Its making sweeps what dead servers left: their leased files are gone before anybody can ask.
        store = UxStore(directory, proxy.ux_threads, syncs=proxy.ux_fsync)
        resources.callback(store.close)
        watches = WatchTable()
        fs = UxFs(store, watches)
        _log(f"serves {directory}")
        realm, host = self._args.realm, self._args.host
        return FileServer(
            fs.root,
            watches,
            realm=realm,
            host=host,
            tls=identity_at(self._args.tls),
            config=self._config,
            fences=fs.fences,
            leases=fs.leases,
            gate=self.gate,
        )


def directory_of(args: KernelArgs) -> str:
    """Where a realm's ux of a node keeps its files, as the descriptor's ``keeps`` says it. Two ux never share one:
    neither would know of the other's fences, leases and watches."""
    if not args.node_dir:
        raise serr.Inval("node_dir", "ux needs a directory to serve")
    name = SERVICE.name if args.realm == ROOT_REALM else f"{SERVICE.name}-{args.realm}"
    return str(Path(args.node_dir) / name)

"""s3 as a kernel service: buckets, served and advertised at ``name/s3/<kernel id>`` (B-1)."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from kernel.fileservice import FileService
from kernel.keeping import make_directory
from kernel.s3.descriptor import SERVICE
from kernel.s3.fs import S3Fs
from kernel.s3.store import S3Store
from sigmaos_ray import debug
from sigmaos_ray.protsrv.server import FileServer
from sigmaos_ray.protsrv.watch import WatchTable
from sigmaos_ray.tls.identity import identity_at

if TYPE_CHECKING:
    from contextlib import AsyncExitStack

    from kernel.shell import KernelArgs
    from sigmaos_ray.realmclnt.terms import RealmTerms

_log = debug.selector("S3")


class S3Server(FileService):
    """Serves the buckets of the account that the arguments tell, be it AWS's or another endpoint's."""

    service = SERVICE
    _store: S3Store | None = None

    def agree(self, terms: RealmTerms) -> None:
        super().agree(terms)
        if self._store is not None:
            self._store.granted = frozenset(terms.buckets)

    async def open(self, resources: AsyncExitStack) -> FileServer:
        args = self._args
        # In a thread: boto3 reads the profile's files, and imports what it needs at its first client.
        store = await asyncio.to_thread(S3Store, args.s3_endpoint, args.s3_credentials_profile, self._config.proxy)
        self._store = store
        if args.terms is not None:
            self.agree(args.terms)
        # In a thread: it waits for requests under way, and the loop has to go on for those who read them.
        resources.push_async_callback(asyncio.to_thread, store.close)
        watches = WatchTable()
        fs = S3Fs(store, watches, make_directory(directory_of(args)))
        server = FileServer(
            fs.root,
            watches,
            realm=args.realm,
            host=args.host,
            tls=identity_at(args.tls),
            config=self._config,
            fences=fs.fences,
            gate=self.gate,
        )
        server.stats.sections["s3"] = fs.report
        resources.push_async_callback(fs.close)
        fs.drop_abandoned_uploads()
        _log(f"serves {args.s3_endpoint or 'AWS'}")
        return server


def directory_of(args: KernelArgs) -> str:
    """Where a realm's s3 of a node keeps its fences and its uploads under way; empty: nowhere."""
    return str(Path(args.state_dir) / SERVICE.name / args.realm / args.kernel_id) if args.state_dir else ""

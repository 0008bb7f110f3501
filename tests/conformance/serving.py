"""The file servers of this project, each started once, on a loop in a thread of its own: tests have loops of theirs."""

from __future__ import annotations

import asyncio
import threading
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

from kernel.keeping import make_directory
from kernel.named.server import NamedServer
from kernel.s3.fs import S3Fs
from kernel.s3.store import S3Store
from kernel.shell import KernelArgs
from kernel.ux.fs import UxFs
from kernel.ux.store import UxStore
from sigmaos_ray import config
from sigmaos_ray.config import ProcEnv
from sigmaos_ray.memfs import MemFs
from sigmaos_ray.protsrv.server import FileServer
from sigmaos_ray.protsrv.watch import WatchTable
from sigmaos_ray.sessp.channel import close_channels
from sigmaos_ray.testing.conformance import Capabilities

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from pathlib import Path

    from motoserver import Emulator

    from sigmaos_ray.sigmap import Endpoint

T = TypeVar("T")


class Served(Protocol):
    """A running server. Whoever started it stops it; what it keeps is elsewhere."""

    async def start(self) -> Endpoint: ...

    async def stop(self) -> None: ...


class _FileServer:
    """A file server, and what goes with it."""

    def __init__(self, files: FileServer, *closing: Any) -> None:
        self._files = files
        self._closing = closing

    async def start(self) -> Endpoint:
        return await self._files.start()

    async def stop(self) -> None:
        await self._files.stop()
        for each in self._closing:
            each.close()


@dataclass(frozen=True)
class Place:
    """Where servers keep what they serve."""

    directory: Path
    etcd_endpoint: str
    s3: Emulator | None
    realm: str

    def new_base(self) -> str:
        """Where directories can be made."""
        return f"name/{self.s3.new_bucket()}" if self.s3 else "name"

    def serve(self, kind: str) -> Served:
        """A new server on what was kept."""
        kinds = {"memfs": self.memfs, "named": self.named, "ux": self.ux, "s3": self.s3fs}
        return kinds[kind]()

    def memfs(self) -> Served:
        watches = WatchTable()
        fs = MemFs(watches)
        return _FileServer(FileServer(fs.root, watches, realm=self.realm, fences=fs.fences, leases=fs.leases))

    def ux(self) -> Served:
        store = UxStore(str(self.directory / "ux"), config.LOCAL.proxy.ux_threads)
        watches = WatchTable()
        fs = UxFs(store, watches)
        files = FileServer(fs.root, watches, realm=self.realm, fences=fs.fences, leases=fs.leases)
        return _FileServer(files, store)

    def s3fs(self) -> Served:
        assert self.s3 is not None
        store = S3Store(self.s3.url, None)
        watches = WatchTable()
        fs = S3Fs(store, watches, make_directory(str(self.directory / "s3")))
        return _FileServer(FileServer(fs.root, watches, realm=self.realm, fences=fs.fences), store)

    def named(self) -> Served:
        return NamedServer(KernelArgs(kernel_id="sigma-1", realm=self.realm, etcd_endpoints=(self.etcd_endpoint,)))


CAPABILITIES = {
    "memfs": Capabilities(durable=False, lasting_fences=False, transactions=False),
    "named": Capabilities(file_bytes_max=config.LOCAL.named.file_bytes_max, pipes=False),
    "ux": Capabilities(devices=False, puts_keep_qid=False, transactions=False),
    "s3": Capabilities(
        rename=False,
        append=False,
        read_write=False,
        writes_in_place=False,
        keeps_removed=False,
        links=False,
        devices=False,
        pipes=False,
        leases=False,
        transactions=False,
        names_refused=("\n",),  # by moto's HTTP server
        entries_count=30,
        racers_count=6,
        rounds_count=6,
    ),
}


class Site:
    """One server of a kind, and clients' way to it. A context manager."""

    def __init__(self, kind: str, place: Place) -> None:
        self.kind = kind
        self.capabilities = CAPABILITIES[kind]
        self._place = place
        self._served: Served | None = None
        self._endpoint: Endpoint | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"site-{kind}")

    def new_base(self) -> str:
        return self._place.new_base()

    def proc_env(self) -> ProcEnv:
        assert self._endpoint is not None
        return ProcEnv(pid="conformance", realm=self._place.realm, named=self._endpoint)

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def __enter__(self) -> Self:
        self._thread.start()
        self._run(self._start())
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._run(self._stop())
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def restart(self) -> None:
        """A new server on the same data."""
        self._run(self._stop())
        self._run(self._start())

    async def _start(self) -> None:
        async with AsyncExitStack() as stack:
            served = self._place.serve(self.kind)
            stack.push_async_callback(served.stop)
            self._endpoint = await served.start()
            stack.pop_all()
        self._served = served

    async def _stop(self) -> None:
        served, self._served = self._served, None
        if served is not None:
            await served.stop()
        await close_channels()

"""The file servers of this project, without Ray, for the suites that check each of them and those that attack them.

A new one has an entry in ``SERVERS``, and no suite lists it: a test compares the entries with the kernel's descriptors.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

from kernel.keeping import make_directory
from kernel.named.server import NamedServer
from kernel.s3.fs import S3Fs
from kernel.s3.store import S3Store
from kernel.shell import KernelArgs
from kernel.ux.fs import UxFs
from kernel.ux.store import UxStore
from sigmaos_ray import config
from sigmaos_ray.memfs import MemFs
from sigmaos_ray.protsrv.server import FileServer
from sigmaos_ray.protsrv.watch import WatchTable
from sigmaos_ray.testing.conformance import Capabilities

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest
    from motoserver import Emulator

    from sigmaos_ray.config import Config
    from sigmaos_ray.sigmap import Endpoint


class Served(Protocol):
    """A server. Whoever starts it stops it; what it keeps is elsewhere."""

    async def start(self) -> Endpoint: ...

    async def stop(self) -> None: ...


class _WithStore:
    """A file server, and the store that is closed after it."""

    def __init__(self, files: FileServer, store: Any) -> None:
        self._files = files
        self._store = store

    async def start(self) -> Endpoint:
        return await self._files.start()

    async def stop(self) -> None:
        await self._files.stop()
        self._store.close()


@dataclass(frozen=True)
class Place:
    """Where servers keep what they serve."""

    directory: Path
    etcd_endpoint: str
    s3: Emulator | None
    realm: str

    @classmethod
    def of(cls, kind: str, request: pytest.FixtureRequest, directory: Path) -> Self:
        """One that nobody uses yet, with what a server of that kind needs."""
        return cls(
            directory=directory,
            etcd_endpoint=request.getfixturevalue("etcd").endpoint if SERVERS[kind].needs_etcd else "",
            s3=request.getfixturevalue("s3_emulator") if SERVERS[kind].needs_s3 else None,
            realm=f"c{secrets.token_hex(4)}",
        )

    def new_base(self) -> str:
        """Where directories can be made."""
        return f"name/{self.s3.new_bucket()}" if self.s3 else "name"


@dataclass(frozen=True)
class Kind:
    """One of the file servers."""

    make: Callable[[Place, Config], Served]
    """A new server on what was kept at the place."""
    capabilities: Capabilities
    pace: float = 1.0
    """How many examples property tests try, beside a server in memory."""
    needs_etcd: bool = False
    needs_s3: bool = False


def _memfs(place: Place, limits: Config) -> Served:
    watches = WatchTable(limits.store)
    fs = MemFs(watches, limits=limits.store)
    return FileServer(fs.root, watches, realm=place.realm, config=limits, fences=fs.fences, leases=fs.leases)


def _named(place: Place, limits: Config) -> Served:
    args = KernelArgs(kernel_id="sigma-1", realm=place.realm, etcd_endpoints=(place.etcd_endpoint,))
    return NamedServer(args, config=limits)


def _ux(place: Place, limits: Config) -> Served:
    store = UxStore(str(place.directory / "ux"), limits.proxy.ux_threads)
    watches = WatchTable()
    fs = UxFs(store, watches)
    files = FileServer(fs.root, watches, realm=place.realm, config=limits, fences=fs.fences, leases=fs.leases)
    return _WithStore(files, store)


def _s3(place: Place, limits: Config) -> Served:
    assert place.s3 is not None
    store = S3Store(place.s3.url, None)
    watches = WatchTable()
    fs = S3Fs(store, watches, make_directory(str(place.directory / "s3")))
    return _WithStore(FileServer(fs.root, watches, realm=place.realm, config=limits, fences=fs.fences), store)


SERVERS: Final = {
    "memfs": Kind(_memfs, Capabilities(durable=False, lasting_fences=False, transactions=False)),
    "named": Kind(
        _named,
        Capabilities(file_bytes_max=config.LOCAL.named.file_bytes_max, pipes=False),
        pace=0.75,
        needs_etcd=True,
    ),
    "ux": Kind(_ux, Capabilities(devices=False, puts_keep_qid=False, transactions=False), pace=0.75),
    "s3": Kind(
        _s3,
        Capabilities(
            rename=False,
            parents_come=True,
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
        pace=0.2,
        needs_s3=True,
    ),
}
"""By name: the kernel's services that serve files, and a server in memory."""

"""Servers that are wrong on purpose, each in one way, under the whole suite: ``test_suite_can_fail.py`` runs this."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest
import pytest_asyncio

from sigmaos_ray.config import ProcEnv
from sigmaos_ray.fslib import AsyncFsLib
from sigmaos_ray.memfs import MemDir, MemFs
from sigmaos_ray.protsrv.fences import FenceTable
from sigmaos_ray.protsrv.server import FileServer
from sigmaos_ray.protsrv.watch import WatchTable
from sigmaos_ray.sigmap import NO_FENCE, OEXCL, OTRUNC
from sigmaos_ray.testing.conformance import Capabilities, base, leasing, watching
from sigmaos_ray.testing.conformance.suites import *  # noqa: F403  # pytest collects what is imported

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from sigmaos_ray.protsrv.node import Node, OpenFile, OpenHow
    from sigmaos_ray.rpcsrv import Caller
    from sigmaos_ray.sigmap import Stat


def _forgets_exclusion(patch: pytest.MonkeyPatch) -> None:
    put = MemDir.put

    async def wrong(self: MemDir, caller: Caller, name: str, data: bytes, how: OpenHow, offset: int = 0) -> int:
        return await put(self, caller, name, data, msgspec.structs.replace(how, mode=how.mode & ~OEXCL), offset)

    patch.setattr(MemDir, "put", wrong)


def _opens_what_exists(patch: pytest.MonkeyPatch) -> None:
    create = MemDir.create

    async def wrong(self: MemDir, caller: Caller, name: str, how: OpenHow) -> tuple[Node, OpenFile | None]:
        if name in self.nodes:
            return self.nodes[name], await self.nodes[name].open(caller, how)
        return await create(self, caller, name, how)

    patch.setattr(MemDir, "create", wrong)


def _keeps_the_tail(patch: pytest.MonkeyPatch) -> None:
    put = MemDir.put

    async def wrong(self: MemDir, caller: Caller, name: str, data: bytes, how: OpenHow, offset: int = 0) -> int:
        return await put(self, caller, name, data, msgspec.structs.replace(how, mode=how.mode & ~OTRUNC), offset)

    patch.setattr(MemDir, "put", wrong)


def _loses_entries_between_pages(patch: pytest.MonkeyPatch) -> None:
    entries = MemDir.entries

    async def wrong(self: MemDir, caller: Caller, after: str, limit: int) -> list[Stat]:
        return (await entries(self, caller, after, limit))[1 if after else 0 :]

    patch.setattr(MemDir, "entries", wrong)


def _tells_no_watches(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(WatchTable, "publish", lambda *_: None)
    for module in (base, watching):
        patch.setattr(module, "PATIENCE_S", 0.1)


def _takes_old_fences(patch: pytest.MonkeyPatch) -> None:
    check = FenceTable.check
    patch.setattr(FenceTable, "check", lambda self, *_: check(self, NO_FENCE))


def _keeps_leased_files(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(MemFs, "end_lease", lambda *_: None)
    for name in ("PATIENCE_S", "LATE_S"):
        patch.setattr(leasing, name, 0.1)


def _nothing(_: pytest.MonkeyPatch) -> None:
    """Wrong in what it declares."""


WRONG: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "forgets-exclusion": _forgets_exclusion,
    "opens-what-exists": _opens_what_exists,
    "keeps-the-tail": _keeps_the_tail,
    "loses-entries-between-pages": _loses_entries_between_pages,
    "tells-no-watches": _tells_no_watches,
    "takes-old-fences": _takes_old_fences,
    "keeps-leased-files": _keeps_leased_files,
    "renames-undeclared": _nothing,
}


@pytest.fixture(params=sorted(WRONG))
def wrong(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    kind: str = request.param
    WRONG[kind](monkeypatch)
    return kind


@pytest.fixture
def capabilities(wrong: str) -> Capabilities:
    return Capabilities(rename=wrong != "renames-undeclared", durable=False, lasting_fences=False, entries_count=200)


@pytest_asyncio.fixture
async def sc(wrong: str) -> AsyncIterator[AsyncFsLib]:
    watches = WatchTable()
    fs = MemFs(watches)
    server = FileServer(fs.root, watches, fences=fs.fences, leases=fs.leases)
    client = AsyncFsLib(ProcEnv(pid="wrong", named=await server.start()))
    yield client
    await client.close_fs()
    await server.stop()


@pytest_asyncio.fixture
async def root(sc: AsyncFsLib) -> str:
    await sc.mkdir("name/t")
    return "name/t"

"""The end of a persisted group."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from sigmaos_ray import serr
from sigmaos_ray.ft.procgroupmgr import AsyncProcGroupMgr

if TYPE_CHECKING:
    from sigmaos_ray import AsyncSigmaClnt


class Clnt:
    """A client whose first removal fails."""

    def __init__(self) -> None:
        self.files: set[str] = set()
        self.is_lost = True

    async def makedirs(self, pn: str) -> None:
        return

    async def put_file(self, pn: str, data: bytes) -> None:
        self.files.add(pn)

    async def remove(self, pn: str) -> None:
        if self.is_lost:
            self.is_lost = False
            raise serr.IOErr(pn, "a test")
        self.files.remove(pn)


async def test_a_stop_that_failed_is_repeated_whole() -> None:
    clnt = Clnt()
    manager = AsyncProcGroupMgr(cast("AsyncSigmaClnt", clnt), 0, "user.example", job="j")
    await manager.persist()
    assert len(clnt.files) == 1
    with pytest.raises(serr.IOErr):
        await manager.stop()
    await manager.stop()
    assert clnt.files == set()

"""What comes first: the work or the eviction."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import TYPE_CHECKING, cast

import pytest

from sigmaos_ray.ft.leading import LOST_EXIT_CODE, unless_evicted

if TYPE_CHECKING:
    from sigmaos_ray import AsyncSigmaClnt


def test_the_end_of_a_deposed_leader() -> None:
    script = "from sigmaos_ray.ft.leading import die\ntry:\n    die('deposed')\nfinally:\n    print('an answer')"
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout) == (LOST_EXIT_CODE, "")
    assert "deposed" in ended.stderr


class Proc:
    """A client of a proc that can be evicted."""

    def __init__(self) -> None:
        self.evicted = asyncio.Event()

    async def wait_evict(self) -> None:
        await self.evicted.wait()


def as_clnt(proc: Proc) -> AsyncSigmaClnt:
    return cast("AsyncSigmaClnt", proc)


async def test_work_that_comes_to_its_end() -> None:
    assert await unless_evicted(as_clnt(Proc()), asyncio.sleep(0))


async def test_work_that_is_overtaken_is_cancelled_before_anything_goes_on() -> None:
    proc = Proc()
    undone: list[str] = []

    async def work() -> None:
        proc.evicted.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            undone.append("undone")

    assert not await unless_evicted(as_clnt(proc), work())
    assert undone == ["undone"]


async def test_work_that_fails() -> None:
    async def work() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await unless_evicted(as_clnt(Proc()), work())


async def test_a_schedd_that_is_gone_evicts() -> None:
    class Orphan(Proc):
        async def wait_evict(self) -> None:
            raise ConnectionError

    assert not await unless_evicted(as_clnt(Orphan()), asyncio.Event().wait())

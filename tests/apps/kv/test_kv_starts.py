"""A service whose start is given up half-way leaves nothing: neither procs nor names."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
from typing import TYPE_CHECKING

import pytest

from sigmaos_ray import AsyncSigmaClnt, serr
from sigmaos_ray.ft.fttask import AsyncFtTaskSrvMgr
from sigmaos_ray.ft.fttask.paths import PROGRAM
from sigmaos_ray.testing.tstate import clnt_env
from user.cache import AsyncCacheJob
from user.kv.clnt import AsyncKvClerk
from user.kv.job import AsyncKvJob

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from sigmaos_ray.proc.info import ProcInfo
    from sigmaos_ray.testing import Tstate

WAIT_S = 60.0


async def _given_up(sc: AsyncSigmaClnt, starting: Coroutine[None, None, object], program: str) -> None:
    """Begins, waits for the first proc of a program, and gives up; returns once none of it is left."""
    task = asyncio.create_task(starting)
    async with asyncio.timeout(WAIT_S):
        while not await _running(sc, program):  # noqa: ASYNC110  # nobody tells of procs that begin
            await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        # An end is told by the schedd a moment after the process is gone.
        while await _running(sc, program):  # noqa: ASYNC110  # nor of those that end, to who is not the parent
            await asyncio.sleep(0.05)


async def _running(sc: AsyncSigmaClnt, program: str) -> list[str]:
    return [info.pid for info in await sc.procs() if info.program.startswith(program) and info.status is None]


async def test_a_store(tstate_all: Tstate) -> None:
    name = f"given-up-{secrets.token_hex(3)}"
    async with AsyncSigmaClnt(clnt_env(tstate_all.instance)) as sc:
        job = AsyncKvJob(sc, name)
        await _given_up(sc, job.start(2), "user.kv")
        assert name not in await AsyncKvJob.all(sc)
        await job.close()


async def test_a_store_whose_procs_are_gone_goes_on(tstate_all: Tstate) -> None:
    name = f"woken-{secrets.token_hex(3)}"
    async with AsyncSigmaClnt(clnt_env(tstate_all.instance)) as sc:
        job = AsyncKvJob(sc, name)
        groups = await job.start()
        clerk = AsyncKvClerk(sc, name)
        await clerk.put("answer", b"42")
        with pytest.raises(serr.Exists):
            await job.start()
        async with asyncio.timeout(WAIT_S):
            while running := [info for info in await _of_store(sc, name) if info.os_pid]:
                for info in running:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(info.os_pid, signal.SIGKILL)
                await asyncio.sleep(0.05)
        assert await job.start() == groups
        assert await clerk.get("answer") == b"42"
        await clerk.close()
        await job.stop()
        await job.close()


async def _of_store(sc: AsyncSigmaClnt, name: str) -> list[ProcInfo]:
    return [info for info in await sc.procs() if name in info.args and info.status is None]


async def test_a_cache(tstate_all: Tstate) -> None:
    name = f"given-up-{secrets.token_hex(3)}"
    async with AsyncSigmaClnt(clnt_env(tstate_all.instance)) as sc:
        job = AsyncCacheJob(sc, name, servers=2)
        await _given_up(sc, job.start(), "user.cache")
        with pytest.raises(serr.NotFound):
            await job.servers()
        await job.close()


async def test_a_task_server(tstate_all: Tstate) -> None:
    async with AsyncSigmaClnt(clnt_env(tstate_all.instance)) as sc:
        await _given_up(sc, AsyncFtTaskSrvMgr(sc, f"given-up-{secrets.token_hex(3)}").start(), PROGRAM)

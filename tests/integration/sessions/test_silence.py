"""Servers that keep their connections and say nothing, as one that was stopped does (W-6, S-4)."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

import pytest
from cutter import Cutter, door, through

from sigmaos_ray import config, serr
from sigmaos_ray.barrierclnt import AsyncBarrier
from sigmaos_ray.config import ProcEnv
from sigmaos_ray.fslib import AsyncFsLib
from sigmaos_ray.lockclnt import AsyncLock
from sigmaos_ray.memfs import MemFs
from sigmaos_ray.pb.rpc_pb2 import AskLeaseReply, AskLeaseRequest
from sigmaos_ray.protsrv.server import FileServer
from sigmaos_ray.protsrv.watch import WatchTable
from sigmaos_ray.rpcclnt import AsyncRPCClnt
from sigmaos_ray.semclnt import AsyncSemaphore
from sigmaos_ray.sessp.channel import close_channels

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

WAITS: dict[str, Callable[[AsyncFsLib, float], Awaitable[object]]] = {
    "wait_create": lambda sc, t: sc.wait_create("name/none", t),
    "wait_remove": lambda sc, t: sc.wait_remove("name/f", t),
    "wait_entries": lambda sc, t: sc.wait_entries("name/", 100, t),
    "wait_empty": lambda sc, t: sc.wait_empty("name/", t),
    "open_wait": lambda sc, t: sc.open_wait("name/none", timeout_s=t),
    "get_file_watch": lambda sc, t: sc.get_file_watch("name/none", t),
    "read_dir_watch": lambda sc, t: sc.read_dir_watch("name/", lambda _: True, t),
    "Semaphore.down": lambda sc, t: AsyncSemaphore(sc, "name/f").down(t),
    "Lock.acquire": lambda sc, t: AsyncLock(sc, "name/f").acquire(t),
    "a free Lock.acquire": lambda sc, t: AsyncLock(sc, "name/none").acquire(t),
    "Barrier.enter": lambda sc, t: AsyncBarrier(sc, "name/barrier", 2).enter(t),
    "rpc": lambda sc, t: AsyncRPCClnt(sc, "name").rpc("LeaseSrv.AskLease", AskLeaseRequest(ttl_s=5), AskLeaseReply, t),
}
TIMEOUT_S = 0.5
SLACK_S = 3.0
"""For a busy machine; the benchmarks tell the figure."""


@contextlib.asynccontextmanager
async def silenced(
    kind: str, limits: config.Config = config.LOCAL
) -> AsyncIterator[tuple[FileServer, Cutter, AsyncFsLib]]:
    """A server with leases, and a client of it through a cutter."""
    fs = MemFs(WatchTable())
    server = FileServer(fs.root, fs.watches, fences=fs.fences, leases=fs.leases, config=limits)
    await server.start()
    try:
        async with Cutter(door(server, kind)) as cutter:
            sc = AsyncFsLib(ProcEnv(pid="test", named=through(cutter)), limits)
            yield server, cutter, sc
            cutter.silent = False
            await sc.close_fs()
    finally:
        await server.stop()
        await close_channels()


@pytest.mark.parametrize("at", ["before", "meanwhile"])
@pytest.mark.parametrize("call", WAITS)
async def test_waits_end_in_time_under_a_silent_server(call: str, at: str, kind: str) -> None:
    """However far they had come, and with all that they clean up."""
    async with silenced(kind) as (_, cutter, sc):
        await sc.put_file("name/f", b"")
        if at == "before":
            cutter.silent = True
        began_s = time.monotonic()
        waiting = asyncio.ensure_future(WAITS[call](sc, TIMEOUT_S))
        if at == "meanwhile":
            await asyncio.wait({waiting}, timeout=TIMEOUT_S / 2)
            cutter.silent = True
        await asyncio.wait({waiting})
        assert time.monotonic() - began_s < TIMEOUT_S + SLACK_S
        # These two may have been done before the silence.
        if call not in ("rpc", "a free Lock.acquire") or waiting.exception() is not None:
            assert isinstance(waiting.exception(), serr.Timeout)


async def test_a_call_that_is_cancelled_waits_for_no_server(kind: str) -> None:
    async with silenced(kind) as (server, cutter, sc):
        await sc.put_file("name/f", b"x" * (3 << 20))
        fids = server.stats.fid_count

        async def writing() -> None:
            async with sc.create_writer("name/g") as writer:
                await writer.write(b"x" * (5 << 20))

        async def reading() -> None:
            async with sc.open_reader("name/f") as reader:
                async for _ in reader:
                    cutter.silent = True

        for call in (writing, reading):
            task = asyncio.create_task(call())
            await asyncio.wait({task}, timeout=0.05)
            cutter.silent = True
            began_s = time.monotonic()
            task.cancel()
            await asyncio.wait({task})
            assert time.monotonic() - began_s < SLACK_S
            cutter.silent = False
        await sc.get_file("name/f")
        while server.stats.fid_count > fids:  # noqa: ASYNC110  # the server frees them behind
            await asyncio.sleep(0.01)


async def test_keepalive_finds_a_silent_peer(kind: str) -> None:
    """By default gRPC waits for a minute, whatever its keepalive time-out says."""
    session = config.Session(keepalive_s=1.0, keepalive_timeout_s=1.0, session_timeout_s=1.0, silent_session_s=1.0)
    async with silenced(kind, config.Config(session=session)) as (server, cutter, sc), sc.watch_dir("name") as watch:
        cutter.silent = True
        began_s = time.monotonic()
        with pytest.raises(serr.SESSION_ERRORS):
            await watch.read(40)
        while server.stats.session_count:  # noqa: ASYNC110  # nobody tells
            await asyncio.sleep(0.05)
        assert time.monotonic() - began_s < 40

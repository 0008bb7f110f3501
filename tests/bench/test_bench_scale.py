"""named with 100,000 files, and with 200 sessions that watch. Figures of its own; there is no peer.

Told: how long the files take to make, to list page by page, and to load when named starts again; how much memory named
takes for each; how soon 200 watchers, each a session, have all heard of one new entry.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Final

import psutil
import pytest
from named_child import REALM
from peers import PeerMissing

from sigmaos_ray import AsyncSigmaClnt
from sigmaos_ray.config import ProcEnv
from sigmaos_ray.sigmap import Endpoint

if TYPE_CHECKING:
    from collections.abc import Iterator

FILES: Final = 100_000
DIRS: Final = 100
"""Half of the files lie in one directory, the others in so many."""
IN_FLIGHT: Final = 128
WATCHERS: Final = 200
EVENTS: Final = 20


@contextmanager
def named_child(etcd_port: int) -> Iterator[tuple[psutil.Process, ProcEnv, float]]:
    """The process, how a client finds it, and how many seconds it took to lead."""
    command = [sys.executable, str(Path(__file__).with_name("named_child.py")), str(etcd_port)]
    began = time.perf_counter()
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            address = child.stdout.readline().strip()
            started_s = time.perf_counter() - began
            assert address, "named did not start"
            env = ProcEnv(pid="bench", realm=REALM, named=Endpoint(addrs=(address,)))
            yield psutil.Process(child.pid), env, started_s
        finally:
            child.stdin.close()
            child.wait(30)


def port_of(etcd_port: int | PeerMissing) -> int:
    if isinstance(etcd_port, PeerMissing):
        pytest.skip(str(etcd_port))
    return etcd_port


async def make_files(env: ProcEnv) -> float:
    """Seconds for all files."""
    async with AsyncSigmaClnt(env) as sc:
        for number in range(DIRS + 1):
            await sc.mkdir(f"name/d{number}")
        numbers = iter(range(FILES))

        async def make() -> None:
            for number in numbers:
                directory = 0 if number % 2 else 1 + number // 2 % DIRS
                await sc.put_file(f"name/d{directory}/file-{number}", b"some contents of a small file")

        began = time.perf_counter()
        await asyncio.gather(*(make() for _ in range(IN_FLIGHT)))
        return time.perf_counter() - began


async def list_files(env: ProcEnv) -> tuple[float, int]:
    """Seconds to list the directory that has half of the files, and how many it has."""
    async with AsyncSigmaClnt(env) as sc:
        began = time.perf_counter()
        count = len(await sc.get_dir("name/d0"))
        return time.perf_counter() - began, count


def test_100_000_files(etcd_port: int | PeerMissing) -> None:
    port = port_of(etcd_port)
    with named_child(port) as (process, env, started_s):
        empty_bytes = process.memory_info().rss
        made_s = asyncio.run(make_files(env))
        full_bytes = process.memory_info().rss
        listed_s, count = asyncio.run(list_files(env))
        assert count == FILES // 2
    with named_child(port) as (process, env, loaded_s):
        loaded_bytes = process.memory_info().rss
        _, count = asyncio.run(list_files(env))
        assert count == FILES // 2
    print(f"\n  {FILES:,} files: made in {made_s:.1f} s ({FILES / made_s:,.0f}/s), {IN_FLIGHT} in flight")
    print(f"  half of them, in one directory, listed in {listed_s * 1e3:.0f} ms")
    print(f"  named restarted in {loaded_s:.2f} s with them, {started_s:.2f} s without")
    print(
        f"  its memory: {empty_bytes >> 20} MiB empty, {full_bytes >> 20} MiB after making them "
        f"({(full_bytes - empty_bytes) / FILES:.0f} bytes a file), {loaded_bytes >> 20} MiB after loading them"
    )


async def fan_out(env: ProcEnv, process: psutil.Process) -> tuple[float, float]:
    """Median seconds from a put to the last of all watchers hearing of it; bytes of named's memory per watcher."""
    async with AsyncExitStack() as stack:
        writer = await stack.enter_async_context(AsyncSigmaClnt(env))
        await writer.mkdir("name/watched")
        before_bytes = process.memory_info().rss
        watches = []
        for _ in range(WATCHERS):
            sc = await stack.enter_async_context(AsyncSigmaClnt(env))
            watches.append(await stack.enter_async_context(sc.watch_dir("name/watched")))
        watcher_bytes = (process.memory_info().rss - before_bytes) / WATCHERS
        delays: list[float] = []
        for number in range(EVENTS):
            began = time.perf_counter()
            heard = [asyncio.create_task(watch.next_event(30)) for watch in watches]
            await writer.put_file(f"name/watched/{number}", b"")
            assert {event.name for event in await asyncio.gather(*heard)} == {str(number)}
            delays.append(time.perf_counter() - began)
        return median(delays), watcher_bytes


def test_200_sessions_with_watches(etcd_port: int | PeerMissing) -> None:
    with named_child(port_of(etcd_port)) as (process, env, _):
        delay_s, watcher_bytes = asyncio.run(fan_out(env, process))
    print(
        f"\n  {WATCHERS} sessions with a watch each: all heard of a new file {delay_s * 1e3:.1f} ms after its put "
        f"began; {watcher_bytes / 1024:.0f} KiB of named's memory each"
    )

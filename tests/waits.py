"""Calls with a time-out, for tests and benchmarks of servers that say nothing. Each takes a client, a directory of the
server, which has a file ``f`` and a directory ``full``, and the seconds."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from sigmaos_ray import serr
from sigmaos_ray.barrierclnt import AsyncBarrier
from sigmaos_ray.electclnt import AsyncElectClnt
from sigmaos_ray.fslib import AsyncDirCache
from sigmaos_ray.leaderclnt import AsyncLeaderClnt
from sigmaos_ray.lockclnt import AsyncLock
from sigmaos_ray.pb.rpc_pb2 import LeaseReply, LeaseRequest
from sigmaos_ray.rpcclnt import AsyncRPCClnt
from sigmaos_ray.semclnt import AsyncSemaphore

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sigmaos_ray.sigmaclnt import AsyncSigmaClnt

    Wait = Callable[[AsyncSigmaClnt, str, float], Awaitable[object]]

WAITS: Final[dict[str, Wait]] = {
    "wait_create": lambda sc, d, t: sc.wait_create(f"{d}/none", t),
    "wait_remove": lambda sc, d, t: sc.wait_remove(f"{d}/f", t),
    "wait_entries": lambda sc, d, t: sc.wait_entries(f"{d}/", 1000, t),
    "wait_empty": lambda sc, d, t: sc.wait_empty(f"{d}/", t),
    "read_dir_watch": lambda sc, d, t: sc.read_dir_watch(f"{d}/", lambda _: True, t),
    "open_wait": lambda sc, d, t: sc.open_wait(f"{d}/none", timeout_s=t),
    "open_wait_reader": lambda sc, d, t: sc.open_wait_reader(f"{d}/none", t),
    "get_file_watch": lambda sc, d, t: sc.get_file_watch(f"{d}/none", t),
    "get_file_json_watch": lambda sc, d, t: sc.get_file_json_watch(f"{d}/none", t),
    "Semaphore.down": lambda sc, d, t: AsyncSemaphore(sc, f"{d}/f").down(t),
    "Lock.acquire": lambda sc, d, t: AsyncLock(sc, f"{d}/f").acquire(t),
    "Barrier.enter": lambda sc, d, t: AsyncBarrier(sc, f"{d}/barrier", 2).enter(t),
}
"""All of them wait for what does not come, also where the server answers."""

LEADING: Final[dict[str, Wait]] = {
    "acquire_leadership": lambda sc, _, t: AsyncElectClnt(sc, "name/leader").acquire_leadership(b"", t),
    "lead_and_fence": lambda sc, d, t: AsyncLeaderClnt(sc, "name/leader").lead_and_fence(b"", [d], t),
}
"""At named alone, where somebody leads at ``name/leader``."""


async def _written(sc: AsyncSigmaClnt, directory: str) -> None:
    async with sc.create_writer(f"{directory}/written") as writer:
        await writer.write(bytes(3 << 20))


async def _watched(sc: AsyncSigmaClnt, directory: str) -> None:
    async with sc.watch_dir(f"{directory}/") as watch:
        await watch.next_event()


async def _cached(sc: AsyncSigmaClnt, directory: str) -> None:
    cache: AsyncDirCache[None]
    async with AsyncDirCache(sc, f"{directory}/") as cache:
        await cache.wait_entry_created("none")


def _given_up(call: Callable[[AsyncSigmaClnt, str], Awaitable[object]]) -> Wait:
    """A call without a time-out of its own, which its caller gives up."""

    async def wait(sc: AsyncSigmaClnt, directory: str, timeout_s: float) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                await call(sc, directory)
        except TimeoutError as error:
            raise serr.Timeout(directory) from error

    return wait


GIVEN_UP: Final[dict[str, Wait]] = {
    "Lock.acquire of a free one": lambda sc, d, t: AsyncLock(sc, f"{d}/free").acquire(t),
    "rpc": lambda sc, d, t: AsyncRPCClnt(sc, d).rpc("LeaseSrv.End", LeaseRequest(lease_id=1), LeaseReply, timeout_s=t),
    "get_file": _given_up(lambda sc, d: sc.get_file(f"{d}/f")),
    "put_file": _given_up(lambda sc, d: sc.put_file(f"{d}/new", b"")),
    "put_file_atomic of a large one": _given_up(lambda sc, d: sc.put_file_atomic(f"{d}/large", bytes(2 << 20))),
    "remove_own": _given_up(lambda sc, d: sc.remove_own(f"{d}/f", b"other")),
    "rename": _given_up(lambda sc, d: sc.rename(f"{d}/f", f"{d}/full/f")),
    "open": _given_up(lambda sc, d: sc.open(f"{d}/f")),
    "get_dir": _given_up(lambda sc, d: sc.get_dir(f"{d}/")),
    "rmdir": _given_up(lambda sc, d: sc.rmdir(f"{d}/full")),
    "create_writer": _given_up(_written),
    "watch_dir": _given_up(_watched),
    "DirCache": _given_up(_cached),
}
"""A server that answers ends most of them at once."""

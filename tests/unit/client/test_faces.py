"""The blocking and the asyncio face have the same calls."""

from __future__ import annotations

import inspect

import pytest

from sigmaos_ray import AsyncSigmaClnt, SigmaClnt
from sigmaos_ray.barrierclnt import AsyncBarrier, Barrier
from sigmaos_ray.blocking import DirCache
from sigmaos_ray.electclnt import AsyncElectClnt, ElectClnt
from sigmaos_ray.fslib import AsyncDirCache
from sigmaos_ray.leaderclnt import AsyncLeaderClnt, LeaderClnt
from sigmaos_ray.leaseclnt import AsyncLease, AsyncLeaseClnt, Lease, LeaseClnt
from sigmaos_ray.lockclnt import AsyncLock, Lock
from sigmaos_ray.rpcclnt import AsyncRPCClnt, RPCClnt
from sigmaos_ray.semclnt import AsyncSemaphore, Semaphore

FACES = [
    (SigmaClnt, AsyncSigmaClnt),
    (LeaseClnt, AsyncLeaseClnt),
    (Lease, AsyncLease),
    (RPCClnt, AsyncRPCClnt),
    (Semaphore, AsyncSemaphore),
    (Lock, AsyncLock),
    (Barrier, AsyncBarrier),
    (ElectClnt, AsyncElectClnt),
    (LeaderClnt, AsyncLeaderClnt),
    (DirCache, AsyncDirCache),
]

ONLY_BLOCKING = {"run", "asynchronous", "id", "ttl_s"}
"""How the blocking faces reach the client beneath; what asyncio has an event or an attribute for."""

ONLY_ASYNC = {
    # for servers and faces built on the client, not for users
    "call", "close_fs", "config", "generation", "is_kept", "line", "lost_threaded", "mount_endpoint",
    "read_bytes_max", "scan_dir_pages",
    "server_at", "server_of", "stop_extending", "wait_until",
}  # fmt: skip

PLAIN = {
    "watch_dir", "open_reader", "open_parallel_reader", "get_chunk_reader", "create_writer", "open_writer", "scan_dir",
    "keep_extending", "stats",
}  # fmt: skip
"""Calls that are no coroutines on either side: they return context managers, iterators, values."""

CALLBACKS = {"process_dir", "read_dir_watch"}
"""Calls that take a function: on asyncio it may be a coroutine function."""


def public(cls: type) -> dict[str, object]:
    return {name: member for name, member in inspect.getmembers(cls) if not name.startswith("_")}


def parameters(call: object, name: str) -> list[tuple[object, ...]]:
    told = inspect.signature(call).parameters.values()  # type: ignore[arg-type]
    annotations = () if name in CALLBACKS else tuple(each.annotation for each in told)
    return [annotations, *((each.name, each.kind, each.default) for each in told)]


@pytest.mark.parametrize(("blocking", "asynchronous"), FACES)
def test_the_same_names(blocking: type, asynchronous: type) -> None:
    assert set(public(blocking)) - ONLY_BLOCKING == set(public(asynchronous)) - ONLY_ASYNC


@pytest.mark.parametrize(("blocking", "asynchronous"), FACES)
def test_the_same_parameters(blocking: type, asynchronous: type) -> None:
    theirs = public(asynchronous)
    for name, member in public(blocking).items():
        if name in ONLY_BLOCKING or not inspect.isfunction(member):
            continue
        other = theirs[name]
        assert parameters(member, name) == parameters(other, name), name
        assert inspect.iscoroutinefunction(other) or name in PLAIN, name
        assert not inspect.iscoroutinefunction(member), name

"""Each blocking face has the calls of its asynchronous class, by the same names and with the same parameters."""

from __future__ import annotations

import inspect

import pytest

from sigmaos_ray import AsyncSigmaClnt, SigmaClnt
from sigmaos_ray.barrierclnt import AsyncBarrier, Barrier
from sigmaos_ray.blocking import DirCache
from sigmaos_ray.dbclnt import AsyncDbClnt, DbClnt
from sigmaos_ray.electclnt import AsyncElectClnt, ElectClnt
from sigmaos_ray.fslib import AsyncDirCache
from sigmaos_ray.leaderclnt import AsyncLeaderClnt, LeaderClnt
from sigmaos_ray.leaseclnt import AsyncLease, AsyncLeaseClnt, Lease, LeaseClnt
from sigmaos_ray.lockclnt import AsyncLock, Lock
from sigmaos_ray.realmclnt import AsyncRealmClnt, RealmClnt
from sigmaos_ray.rpcclnt import AsyncRPCClnt, AsyncShardedRPCClnt, RPCClnt, ShardedRPCClnt
from sigmaos_ray.semclnt import AsyncSemaphore, Semaphore

FACES = [
    (SigmaClnt, AsyncSigmaClnt),
    (LeaseClnt, AsyncLeaseClnt),
    (Lease, AsyncLease),
    (RPCClnt, AsyncRPCClnt),
    (ShardedRPCClnt, AsyncShardedRPCClnt),
    (DbClnt, AsyncDbClnt),
    (RealmClnt, AsyncRealmClnt),
    (Semaphore, AsyncSemaphore),
    (Lock, AsyncLock),
    (Barrier, AsyncBarrier),
    (ElectClnt, AsyncElectClnt),
    (LeaderClnt, AsyncLeaderClnt),
    (DirCache, AsyncDirCache),
]

ONLY_BLOCKING = {
    "asynchronous": "what a face stands on",
    "run": "a coroutine would await instead",
    "direct": "the same, and in the caller's thread where that can be",
}
ONLY_ASYNC = {
    "core": "fids and mounts, whose calls are coroutines",
    "lost_threaded": "the event for threads is ``lost`` on the blocking face",
    "call": "RPCs of serialized messages: what the blocking face is built on",
    "channel": "the same",
    "leave_soon": "the same",
    "abandon": "for what is built on it, which knows that the server is gone",
}

PLAIN = {
    "watch_dir", "open_reader", "open_parallel_reader", "get_chunk_reader", "create_writer", "open_writer", "scan_dir",
    "scan_dir_pages", "keep_extending", "rest", "stats", "as_completed", "wait_exit_chan",
}  # fmt: skip
"""Calls that are no coroutines on either side: they return context managers, iterators, values."""

CALLBACKS = {"process_dir", "read_dir_watch", "wait_until"}
"""Calls that take a function: on asyncio it is, or may be, a coroutine function."""


def public(cls: type) -> dict[str, object]:
    """Members by name; attributes that are only declared, too."""
    declared = {name: None for each in cls.__mro__ for name in vars(each).get("__annotations__", {})}
    members = declared | dict(inspect.getmembers(cls))
    return {name: member for name, member in members.items() if not name.startswith("_")}


def parameters(call: object, name: str) -> list[tuple[object, ...]]:
    values = inspect.signature(call).parameters.values()  # type: ignore[arg-type]
    annotations = () if name in CALLBACKS else tuple(each.annotation for each in values)
    return [annotations, *((each.name, each.kind, each.default) for each in values)]


@pytest.mark.parametrize(("blocking", "asynchronous"), FACES)
def test_the_same_names(blocking: type, asynchronous: type) -> None:
    assert public(blocking).keys() - ONLY_BLOCKING.keys() == public(asynchronous).keys() - ONLY_ASYNC.keys()


def test_each_exception_is_one() -> None:
    blocking = {name for face, _ in FACES for name in public(face)}
    asynchronous = {name for _, cls in FACES for name in public(cls)}
    assert blocking - asynchronous == ONLY_BLOCKING.keys()
    assert asynchronous - blocking == ONLY_ASYNC.keys()


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


@pytest.mark.parametrize(("blocking", "asynchronous"), FACES)
def test_each_call_is_described(blocking: type, asynchronous: type) -> None:
    """Where it is used: ``help`` of a blocking call tells what blocks, and which errors come."""
    silent = [name for name, member in public(blocking).items() if inspect.isfunction(member) and not member.__doc__]
    assert silent == []

"""Small files in named, beside the same in ZooKeeper (kazoo) and in etcd (aetcd, asyncio).

Goals: one at a time a get, and a stat, costs at most 0.4 of kazoo's, a put at most 1.2 and a create 1.3; a get of a
coroutine at most 0.5; with 64 calls in flight one client does at least 8 x kazoo's gets per second and 1.5 x its
creates. Each peer meets the face of our client that is like its own: blocking calls with kazoo's, asyncio with kazoo's
asynchronous calls and with aetcd. A put over one in etcd is what named adds to the transaction.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections import deque
from typing import TYPE_CHECKING, Final

import aetcd
import pytest
from kazoo.client import KazooClient
from measure import compare
from peers import PeerMissing

from sigmaos_ray import AsyncSigmaClnt
from sigmaos_ray.testing.tstate import clnt_env

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from measure import Work

    from sigmaos_ray.testing import Tstate

DIR: Final = "name/bench-files"
FILE: Final = f"{DIR}/file"
CONTENTS: Final = b"x" * 100
TIMES: Final = 300
IN_FLIGHT: Final = 64
TIMES_IN_FLIGHT: Final = 3000

numbers = itertools.count()


@pytest.fixture(scope="module")
def ours(instance: Tstate) -> Iterator[Tstate]:
    instance.sc.mkdir(DIR)
    instance.sc.put_file(FILE, CONTENTS)
    yield instance
    instance.sc.rmdir(DIR)


@pytest.fixture(scope="module")
def zk(zookeeper_port: int | PeerMissing) -> Iterator[KazooClient | PeerMissing]:
    if isinstance(zookeeper_port, PeerMissing):
        yield zookeeper_port
        return
    client = KazooClient(f"127.0.0.1:{zookeeper_port}")
    client.start()
    try:
        client.ensure_path("/bench")
        client.set("/bench", CONTENTS)
        yield client
    finally:
        client.stop()
        client.close()


def again(call: Callable[[], object]) -> Work:
    def work(times: int) -> None:
        for _ in range(times):
            call()

    return work


def beside_zookeeper(
    what: str, call: Callable[[], object], zk: KazooClient | PeerMissing, peer: str, *, goal: float | None
) -> None:
    work = ("SigmaClnt", again(call))
    if isinstance(zk, PeerMissing):
        compare(what, work, None, times=TIMES, missing=str(zk))
        return
    theirs = {
        "get": lambda: zk.get("/bench"),
        "exists": lambda: zk.exists("/bench"),
        "set": lambda: zk.set("/bench", CONTENTS),
        "create": lambda: zk.create(f"/bench/{next(numbers)}", CONTENTS),
    }
    compare(what, work, (f"kazoo {peer}", again(theirs[peer])), times=TIMES, goal=goal)


def test_read_beside_zookeeper(ours: Tstate, zk: KazooClient | PeerMissing) -> None:
    beside_zookeeper("get_file", lambda: ours.sc.get_file(FILE), zk, "get", goal=0.4)


def test_stat_beside_zookeeper(ours: Tstate, zk: KazooClient | PeerMissing) -> None:
    beside_zookeeper("stat", lambda: ours.sc.stat(FILE), zk, "exists", goal=0.4)


def test_read_of_a_coroutine_beside_zookeeper(ours: Tstate, zk: KazooClient | PeerMissing) -> None:
    with asyncio_clients(ours, PeerMissing()) as clients:
        work = ("AsyncSigmaClnt.get_file", awaiting(clients.runner, lambda: clients.sc.get_file(FILE)))
        if isinstance(zk, PeerMissing):
            compare("get_file", work, None, times=TIMES, missing=str(zk))
            return
        compare("get_file", work, ("kazoo get", again(lambda: zk.get("/bench"))), times=TIMES, goal=0.5)


def test_create_beside_zookeeper(ours: Tstate, zk: KazooClient | PeerMissing) -> None:
    beside_zookeeper(
        "put_file of a new file",
        lambda: ours.sc.put_file(f"{DIR}/{next(numbers)}", CONTENTS),
        zk,
        "create",
        goal=1.3,
    )


def test_write_beside_zookeeper(ours: Tstate, zk: KazooClient | PeerMissing) -> None:
    beside_zookeeper("put_file", lambda: ours.sc.put_file(FILE, CONTENTS), zk, "set", goal=1.2)


# -- many calls in flight


def in_flight(runner: asyncio.Runner, call: Callable[[], Awaitable[object]]) -> Work:
    async def some(left: Iterator[int]) -> None:
        for _ in left:
            await call()

    async def all_of_them(times: int) -> None:
        left = iter(range(times))
        await asyncio.gather(*(some(left) for _ in range(IN_FLIGHT)))

    return lambda times: runner.run(all_of_them(times))


def kazoo_in_flight(call: Callable[[], object]) -> Work:
    def work(times: int) -> None:
        pending: deque[object] = deque()
        for _ in range(times):
            pending.append(call())
            if len(pending) >= IN_FLIGHT:
                pending.popleft().get()  # type: ignore[attr-defined]
        for each in pending:
            each.get()  # type: ignore[attr-defined]

    return work


@pytest.mark.parametrize(("what", "goal"), [("get", 8.0), ("create", 1.5)])
def test_64_in_flight(ours: Tstate, zk: KazooClient | PeerMissing, what: str, goal: float) -> None:
    with asyncio_clients(ours, PeerMissing()) as clients:
        sc = clients.sc
        calls = {
            "get": lambda: sc.get_file(FILE),
            "create": lambda: sc.put_file(f"{DIR}/{next(numbers)}", CONTENTS),
        }
        work = ("AsyncSigmaClnt", in_flight(clients.runner, calls[what]))
        title = f"{IN_FLIGHT} {what}s in flight"
        if isinstance(zk, PeerMissing):
            compare(title, work, None, times=TIMES_IN_FLIGHT, missing=str(zk), rates=True)
            return
        theirs = {
            "get": lambda: zk.get_async("/bench"),
            "create": lambda: zk.create_async(f"/bench/{next(numbers)}", CONTENTS),
        }
        peer = (f"kazoo {what}_async", kazoo_in_flight(theirs[what]))
        compare(title, work, peer, times=TIMES_IN_FLIGHT, rounds=5, goal=goal, rates=True)


# -- beside etcd, which named stands on


def awaiting(runner: asyncio.Runner, call: Callable[[], Awaitable[object]]) -> Work:
    async def repeat(times: int) -> None:
        for _ in range(times):
            await call()

    return lambda times: runner.run(repeat(times))


@contextlib.contextmanager
def asyncio_clients(ours: Tstate, etcd_port: int | PeerMissing) -> Iterator[_Clients]:
    with asyncio.Runner() as runner:
        clients = runner.run(_Clients(runner).open(ours, etcd_port))
        try:
            yield clients
        finally:
            runner.run(clients.close())


class _Clients:
    """Both asyncio clients, on one loop."""

    def __init__(self, runner: asyncio.Runner) -> None:
        self.runner = runner
        self.etcd: aetcd.Client | None = None

    async def open(self, ours: Tstate, etcd_port: int | PeerMissing) -> _Clients:
        self.sc = await AsyncSigmaClnt(clnt_env(ours.instance, "bench")).__aenter__()
        if isinstance(etcd_port, int):
            self.etcd = aetcd.Client(host="127.0.0.1", port=etcd_port)
            await self.etcd.connect()
            await self.etcd.put(b"bench", CONTENTS)
        return self

    async def close(self) -> None:
        await self.sc.close()
        if self.etcd is not None:
            await self.etcd.close()


def test_write_beside_etcd(ours: Tstate, etcd_port: int | PeerMissing) -> None:
    with asyncio_clients(ours, etcd_port) as both:
        work = ("AsyncSigmaClnt.put_file", awaiting(both.runner, lambda: both.sc.put_file(FILE, CONTENTS)))
        if (etcd := both.etcd) is None:
            compare("write", work, None, times=TIMES, missing=str(etcd_port))
            return
        peer = ("aetcd put", awaiting(both.runner, lambda: etcd.put(b"bench", CONTENTS)))
        compare("write", work, peer, times=TIMES, goal=1.6)


def test_read_beside_etcd(ours: Tstate, etcd_port: int | PeerMissing) -> None:
    with asyncio_clients(ours, etcd_port) as both:
        work = ("AsyncSigmaClnt.get_file", awaiting(both.runner, lambda: both.sc.get_file(FILE)))
        if (etcd := both.etcd) is None:
            compare("read", work, None, times=TIMES, missing=str(etcd_port))
            return
        compare("read", work, ("aetcd get", awaiting(both.runner, lambda: etcd.get(b"bench"))), times=TIMES)

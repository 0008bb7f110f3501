"""Small files in named, beside the same in ZooKeeper (kazoo, blocking) and in etcd (aetcd, asyncio).

Claims: a read costs at most 1.2 x kazoo's get; a write at most 1.6 x an etcd put through aetcd.
Each peer meets the face of our client that is like its own: blocking with kazoo, asyncio with aetcd.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

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

FILE = "name/bench-file"
CONTENTS = b"x" * 100
TIMES = 300


@pytest.fixture(scope="module")
def ours(instance: Tstate) -> Iterator[Tstate]:
    instance.sc.put_file(FILE, CONTENTS)
    yield instance
    instance.sc.remove(FILE)


@contextlib.contextmanager
def kazoo(port: int) -> Iterator[KazooClient]:
    client = KazooClient(f"127.0.0.1:{port}")
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


def test_read_beside_zookeeper(ours: Tstate, zookeeper_port: int | PeerMissing) -> None:
    ours_work = ("SigmaClnt.get_file", again(lambda: ours.sc.get_file(FILE)))
    if isinstance(zookeeper_port, PeerMissing):
        compare("read", ours_work, None, times=TIMES, missing=str(zookeeper_port))
        return
    with kazoo(zookeeper_port) as zk:
        compare("read", ours_work, ("kazoo get", again(lambda: zk.get("/bench"))), times=TIMES, goal=1.2)


def test_write_beside_zookeeper(ours: Tstate, zookeeper_port: int | PeerMissing) -> None:
    ours_work = ("SigmaClnt.put_file", again(lambda: ours.sc.put_file(FILE, CONTENTS)))
    if isinstance(zookeeper_port, PeerMissing):
        compare("write", ours_work, None, times=TIMES, missing=str(zookeeper_port))
        return
    with kazoo(zookeeper_port) as zk:
        compare("write", ours_work, ("kazoo set", again(lambda: zk.set("/bench", CONTENTS))), times=TIMES)


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

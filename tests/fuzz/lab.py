"""A server under attack, a canary that must go on working, and the look at both."""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import secrets
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from rawsession import ANSWER_S, RawSession

from sigmaos_ray.config import ProcEnv
from sigmaos_ray.fslib import AsyncFsLib

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

    from fileservers import Kind

    from sigmaos_ray.loopthread import LoopThread
    from sigmaos_ray.sigmap import Endpoint

_numbers = itertools.count(1)


class Lab:
    """One server, on a loop in a thread of its own: leases are refreshed also while hypothesis thinks."""

    def __init__(self, thread: LoopThread, kind: Kind, endpoint: Endpoint, root: str, realm: str) -> None:
        self._thread = thread
        self._kind = kind
        self.endpoint = endpoint
        self.realm = realm
        self.address = endpoint.addrs[0]
        self.attackers = "grpc"
        """The kind of the attackers' connections (``rawwires.KINDS``)."""
        self.root = root
        """A directory of the server to work in, as a client's pathname."""
        self.canary = AsyncFsLib(ProcEnv(pid="canary", realm=realm, named=endpoint))
        self.start_counts: dict[str, int] = {}

    @property
    def is_on_moto(self) -> bool:
        return self._kind.needs_s3

    def examples_count(self, beside_memory: int) -> int:
        """How many examples a quick test of this server tries, where one in memory has so many."""
        return math.ceil(beside_memory * self._kind.pace)

    @property
    def aname(self) -> str:
        """The same directory, for an attach."""
        return self.root.partition("/")[2]

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return self._thread.run(coroutine)

    async def start(self) -> None:
        await self.canary.put_file(f"{self.root}/canary", b"sings")
        self.start_counts = await self.counts()

    async def stop(self) -> None:
        await self.canary.close_fs()

    @asynccontextmanager
    async def session(self, **options: Any) -> AsyncIterator[RawSession]:
        async with RawSession(self.endpoint, secrets.randbits(63) or 1, kind=self.attackers, **options) as session:
            yield session

    @asynccontextmanager
    async def attached(self, fid: int = 0) -> AsyncIterator[RawSession]:
        """A session with one fid, of the directory to work in."""
        async with self.session() as session:
            reply = await session.attach(fid, self.aname)
            assert reply.HasField("attach"), reply
            yield session

    async def counts(self) -> dict[str, int]:
        """What the server says that it holds."""
        statsd = json.loads(await asyncio.wait_for(self.canary.get_file("name/.statsd"), ANSWER_S))
        return {name: statsd[name] for name in ("session_count", "fid_count", "watch_count")}

    async def check_alive(self) -> None:
        """The canary on another session is served, and health says so."""
        name = f"{self.root}/canary"
        assert await asyncio.wait_for(self.canary.get_file(name), ANSWER_S) == b"sings"
        async with grpc.aio.insecure_channel(self.address) as channel:
            health = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=ANSWER_S)
        assert health.status == health_pb2.HealthCheckResponse.SERVING

    async def check_clean(self, within_s: float = ANSWER_S) -> None:
        """Sessions, fids and watches of those that left are gone."""
        loop = asyncio.get_running_loop()
        ends_s = loop.time() + within_s
        while (now := await self.counts()) != self.start_counts:
            assert loop.time() < ends_s, f"left behind: {now}, at the start {self.start_counts}"
            await asyncio.sleep(0.01)

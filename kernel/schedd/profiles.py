"""Profiles of processes that run procs: taken on their own machine, whichever schedd was asked."""

from __future__ import annotations

import asyncio
import secrets
import threading
from typing import TYPE_CHECKING

import msgspec

from sigmaos_ray import config, serr
from sigmaos_ray.machine import OsProcess
from sigmaos_ray.perf import remote
from sigmaos_ray.perf.selection import Kind

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from kernel.schedd.peers import Peers
    from kernel.schedd.places import Runner


class ProfileOrder(msgspec.Struct, frozen=True):
    """What is to be taken; ``name`` tells it from others."""

    name: str
    process: OsProcess
    kind: Kind
    seconds: float
    rate_hz: float


class PackedProfile(msgspec.Struct, frozen=True):
    """As it travels: see ``observe_pb2.ProfileReply``."""

    stacks: bytes
    unit: str
    how: str


class Profiles:
    """Those that one schedd takes, for its own clients and for other nodes' schedds. Used from one loop."""

    def __init__(self, peers: Peers) -> None:
        self._peers = peers
        self._overs: dict[str, threading.Event] = {}

    async def take(self, order: ProfileOrder) -> PackedProfile:
        """Of a process of this machine; ends early at ``end``. As ``perf.remote.take``."""
        over = self._overs[order.name] = threading.Event()
        try:
            taken = await asyncio.to_thread(remote.take, order.process, order.kind, order.seconds, order.rate_hz, over)
        finally:
            over.set()
            del self._overs[order.name]
        return PackedProfile(taken.profile.pack(), taken.profile.unit, taken.how)

    def end(self, name: str) -> None:
        """Nothing happens if it is over."""
        over = self._overs.get(name)
        if over is not None:
            over.set()

    async def take_of(
        self, runner: Runner, kind: Kind, seconds: float, rate_hz: float, ended: Awaitable[None]
    ) -> PackedProfile:
        """Of what runs a proc, on whichever machine, until ``ended`` is: in its process comes the next proc then.
        Unreachable if no schedd is there to take it; as ``perf.remote.take`` otherwise."""
        order = ProfileOrder(secrets.token_hex(8), runner.process, kind, seconds, rate_hz)
        ending = asyncio.create_task(self._end_with(ended, runner, order), name=f"profile-{order.name}")
        try:
            if runner.process.is_here:
                return await self.take(order)
            return await self._take_there(runner, order)
        finally:
            ending.cancel()

    async def _take_there(self, runner: Runner, order: ProfileOrder) -> PackedProfile:
        if not runner.kernel_id:
            raise serr.Unreachable("profile", "it runs on a Ray node that has no kernel node yet")
        limits = config.current().observing
        timeout_s = order.seconds + limits.attach_timeout_s + limits.detach_timeout_s
        profile: PackedProfile = await self._peers.ask(runner.kernel_id, "profile", order, timeout_s=timeout_s)
        return profile

    async def _end_with(self, ended: Awaitable[None], runner: Runner, order: ProfileOrder) -> None:
        await ended
        if runner.process.is_here:
            self.end(order.name)
        else:
            timeout_s = config.current().scheduling.peer_timeout_s
            await self._peers.ask(runner.kernel_id, "end_profile", order.name, timeout_s=timeout_s)

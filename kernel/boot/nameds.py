"""A realm's nameds: one leads, the others stand by. Started, placed on nodes, and followed in etcd's election."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, ParamSpec

import msgspec
import ray

from kernel.boot.aside import aside
from kernel.boot.part import RUNNING, KernelPart
from kernel.boot.placing import named_port, numbered, place
from kernel.named.descriptor import SERVICE
from kernel.named.election import follow_candidates
from kernel.raylib import whereis
from sigmaos_ray import debug, serr
from sigmaos_ray.instance import PartState
from sigmaos_ray.sigmap import Endpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kernel.boot.placing import Place
    from kernel.named.election import Candidate
    from kernel.shell import KernelArgs
    from sigmaos_ray.config import Config
    from sigmaos_ray.instance import ServiceInfo
    from sigmaos_ray.machine import OsProcess

P = ParamSpec("P")

_log = debug.selector("BOOT")

STANDBY = f"{SERVICE.name}-standby"


class Nameds:
    """``start`` them; ``stop`` or ``abandon`` them. ``on_change`` is told when the leader or a standby is another."""

    def __init__(
        self,
        count: int,
        args_at: Callable[[Place], KernelArgs],
        config: Config,
        on_change: Callable[[], None],
        port: int | None = None,
    ) -> None:
        """``port``: of each host's first; the others of one host have the ports behind it. 0: any; None: a steady one
        where other machines use it."""
        self._count = count
        self._port = port
        self._args_at = args_at
        self._config = config
        self._on_change = on_change
        self._places: dict[str, Place] = {}
        self._slots: dict[int, str] = {}
        """Where each one is to run: Ray's node ids."""
        self._hosts: dict[str, str] = {}
        """Of slots, as text."""
        self._numbers: dict[str, int] = {}
        """Of slots, as text, among those of their host."""
        self._parts: list[KernelPart] = []
        self._candidates: list[Candidate] = []
        self._follower: asyncio.Task[None] | None = None
        self._led = asyncio.Event()
        self._realm = ""
        self.endpoint = Endpoint()
        """Of the leader that was last known to serve, and behind it those of the standbys: who cannot be told that
        another one leads by now finds it among them."""

    @property
    def parts(self) -> list[KernelPart]:
        """All of them."""
        return list(self._parts)

    async def start(self, places: Sequence[Place]) -> None:
        """Returns once one of them leads and serves; raises what kept the first one from standing. Timeout if none
        leads."""
        self._set_places(places)
        self._parts = [self._part(slot) for slot in range(self._count)]
        leading, *others = self._parts
        for part in others:
            part.launch()
        # The first is on the first node, which must have one; the others are tried again if need be.
        await leading.start()
        if others:
            tried = [asyncio.ensure_future(part.tried()) for part in others]
            _, waiting = await asyncio.wait(tried, timeout=self._config.boot.others_start_timeout_s)
            for wait in waiting:
                wait.cancel()
        first = self._args_at(places[0])
        self._realm = first.realm
        self._follower = asyncio.create_task(
            self._follow(first.etcd_endpoints, first.realm, first.etcd_tls), name="named-leaders"
        )
        timeout_s = self._config.boot.part_start_timeout_s
        try:
            await asyncio.wait_for(self._led.wait(), timeout_s)
        except TimeoutError as error:
            raise serr.Timeout(SERVICE.name, f"none leads within {timeout_s:.0f} s") from error

    def _part(self, slot: int) -> KernelPart:
        def where() -> Place:
            return self._places[self._slots[slot]]

        def args_at(place: Place) -> KernelArgs:
            port = named_port(self._port, place.host, self._numbers[str(slot)])
            return msgspec.structs.replace(self._args_at(place), port=port)

        return KernelPart(SERVICE, where, args_at, self._config, self._on_change, name=_name_of(slot))

    def _set_places(self, places: Sequence[Place]) -> None:
        # With those of nodes that are gone: a part that is about to start there asks for its place once more.
        self._places = {each.ray_node_id: each for each in places} | {
            node: self._places[node] for node in self._slots.values() if node in self._places
        }
        hosts = {node: each.host for node, each in self._places.items()}
        nodes = [each.ray_node_id for each in places]
        self._slots = place(self._count, nodes, self._slots, self._staying(), hosts)
        before, self._hosts = self._hosts, {str(slot): hosts[node] for slot, node in self._slots.items()}
        stayed = {slot: number for slot, number in self._numbers.items() if self._hosts.get(slot) == before[slot]}
        self._numbers = numbered(self._hosts, stayed, "0")

    def _staying(self) -> set[int]:
        """Who moves to no other host: whoever has the first port of his, since that is what clients know. Even if the
        leader goes instead: who is asked to stop hands over at once. Where ports are any, the leader."""
        if any(named_port(self._port, host, 1) for host in self._hosts.values()):
            return {int(slot) for slot, number in self._numbers.items() if number == 1}
        leader = self._leader_slot()
        return set() if leader is None else {leader}

    async def follow_nodes(self, places: Sequence[Place]) -> None:
        """The nodes are others now. Who lost his node starts again elsewhere by himself; a standby that shares a node
        moves to one that has none."""
        before = dict(self._slots)
        alive = {each.ray_node_id for each in places}
        if not alive:
            return
        self._set_places(places)
        for slot, node in self._slots.items():
            if before[slot] != node and before[slot] in alive:
                _log(f"named {slot} moves to {self._places[node].kernel_id}")
                await self._parts[slot].restart()

    async def _follow(self, etcd_endpoints: Sequence[str], realm: str, etcd_tls: str) -> None:
        """Tells everybody where named is, as soon as etcd tells who leads."""
        async with contextlib.aclosing(follow_candidates(etcd_endpoints, realm, etcd_tls)) as changes:
            async for candidates in changes:
                self._candidates = candidates
                if candidates and candidates[0].serves:
                    self.endpoint = _endpoint_of(candidates)
                    self._led.set()
                    _log(f"named is led at {self.endpoint.addrs[0]}")
                self._on_change()
                if self.endpoint.addrs:
                    await aside(_unless_ray_is_lost, whereis.publish, realm, self.endpoint)

    # -- what others see

    def processes(self) -> list[OsProcess]:
        return [part.info.process for part in self._parts if part.info is not None]

    def services_on(self, kernel_id: str) -> dict[str, ServiceInfo]:
        """What stands on a kernel node: ``named`` for the leader, ``named-standby`` and so on for others."""
        services: dict[str, ServiceInfo] = {}
        leader = self._leader_slot()
        standing = {candidate.endpoint for candidate in self._candidates}
        for slot, part in enumerate(self._parts):
            # One that runs and is no candidate (any more) is about to end, and is not shown.
            if part.info is None or part.kernel_id != kernel_id or part.endpoint not in standing:
                continue
            if slot == leader:
                services = {SERVICE.name: part.info, **services}
            else:
                others = sum(name.startswith(STANDBY) for name in services)
                services[STANDBY if not others else f"{STANDBY}-{others + 1}"] = part.info
        return services

    def states_on(self, kernel_id: str) -> dict[str, PartState]:
        """Of those that stand there, and of those that are to and do not run."""
        states = dict.fromkeys(self.services_on(kernel_id), PartState(state=RUNNING))
        for slot, part in enumerate(self._parts):
            if part.info is None and self._places[self._slots[slot]].kernel_id == kernel_id:
                states[_name_of(slot)] = part.state
        return states

    def _leader_slot(self) -> int | None:
        if not self._candidates or not self._candidates[0].serves:
            return None
        leader = self._candidates[0]
        slots = [slot for slot, part in enumerate(self._parts) if part.endpoint == leader.endpoint and part.info]
        return slots[0] if slots else None

    # -- the end

    async def stop(self) -> None:
        """The standbys first, so that nobody takes over from the leader. May be repeated."""
        # Before any of them: it would publish each leader that there is on the way.
        await self._stop_following()
        leader = self._leader_slot()
        await asyncio.gather(*(part.stop() for slot, part in enumerate(self._parts) if slot != leader))
        if leader is not None:
            await self._parts[leader].stop()
        if self._realm:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._config.boot.ray_kill_timeout_s):
                    await aside(_unless_ray_is_lost, whereis.withdraw, self._realm)

    async def abandon(self) -> None:
        """Ray is gone, and they with it."""
        await self._stop_following()
        for part in self._parts:
            part.abandon()

    async def _stop_following(self) -> None:
        if self._follower is not None:
            self._follower.cancel()
            await asyncio.wait({self._follower})
            self._follower = None


def _name_of(slot: int) -> str:
    return SERVICE.name if not slot else f"{SERVICE.name}-{slot}"


def _endpoint_of(candidates: Sequence[Candidate]) -> Endpoint:
    addrs = dict.fromkeys(address for candidate in candidates for address in candidate.endpoint.addrs)
    plain = {pair: None for candidate in candidates for pair in candidate.endpoint.plain}
    return msgspec.structs.replace(candidates[0].endpoint, addrs=tuple(addrs), plain=tuple(plain))


def _unless_ray_is_lost(write: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
    """Writes where named is into Ray's key-value store, if there still is one."""
    try:
        write(*args, **kwargs)
    except ray.exceptions.RayError as error:  # boot starts another Ray, and publishes it there
        _log(f"Ray does not take where named is: {error}")

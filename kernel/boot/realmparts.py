"""What one realm consists of, be it the root realm or a tenant: nameds, and on every kernel node a part per service."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from kernel.boot.keptfiles import node_dir
from kernel.boot.nameds import Nameds
from kernel.boot.part import FAILED, KernelPart
from sigmaos_ray import debug
from sigmaos_ray.instance import KernelNode, PartState

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from kernel.boot.placing import Place
    from kernel.service import Service
    from kernel.shell import KernelArgs
    from sigmaos_ray.config import Config
    from sigmaos_ray.instance import ServiceInfo
    from sigmaos_ray.machine import OsProcess
    from sigmaos_ray.sigmap import Endpoint


class NodeParts:
    """The parts of one realm on one kernel node, by the names of their services."""

    def __init__(self, place: Place, parts: dict[str, KernelPart]) -> None:
        self.place = place
        self.parts = parts
        self.is_launched = False
        """False while at most its processes have begun."""

    def make_ahead(self) -> None:
        """Has the processes begin."""
        if not self.place.unfit:
            for part in self.parts.values():
                part.make_ahead()

    async def start(self) -> None:
        """All at once. Returns when each answers; raises what kept one from it, while the others go on starting."""
        self.is_launched = True
        await asyncio.gather(*(part.start() for part in self.parts.values()))

    async def launch(self) -> None:
        """All at once. Returns when each has been tried; what fails is tried again."""
        self.is_launched = True
        if self.place.unfit:
            return
        for part in self.parts.values():
            part.launch()
        await asyncio.gather(*(part.tried() for part in self.parts.values()))

    def others_started(self) -> None:
        """So have other nodes, or they were given up for now."""
        for part in self.parts.values():
            part.others_started()

    async def stop(self) -> None:
        await asyncio.gather(*(part.stop() for part in self.parts.values()))

    def abandon(self) -> None:
        for part in self.parts.values():
            part.abandon()

    def drop(self) -> None:
        for part in self.parts.values():
            part.drop()

    def services(self) -> dict[str, ServiceInfo]:
        return {name: part.info for name, part in self.parts.items() if part.info is not None}

    def states(self) -> dict[str, PartState]:
        if self.place.unfit:
            return dict.fromkeys(self.parts, PartState(state=FAILED, cause=self.place.unfit))
        return {name: part.state for name, part in self.parts.items()}


class RealmParts:
    """``start``, or ``start_nameds`` and ``start_nodes``; ``follow_nodes`` as nodes come and go; in the end ``stop``,
    or ``abandon`` if Ray is gone."""

    def __init__(
        self,
        args: Callable[[], KernelArgs],
        services: Sequence[Service],
        named_count: int,
        config: Config,
        on_change: Callable[[], None],
        on_line: Callable[[str], None],
        named_port: int | None = 0,
    ) -> None:
        """``args``: those of the realm, asked at each start of a part. ``named_count`` 0: named is somebody else's.
        ``on_line`` hears what has come up. ``named_port``: as ``Nameds`` takes it."""
        self._args = args
        self._services = [service for service in services if service.is_per_node]
        self._named_count = named_count
        self._config = config
        self._on_change = on_change
        self._on_line = on_line
        self._nameds = Nameds(named_count, self._args_of_named, config, on_change, named_port)
        self._nodes: dict[str, NodeParts] = {}
        """By Ray's node ids."""
        self._changing = asyncio.Lock()
        """Nodes may come and go while the realm starts or stops."""
        self._is_up = False
        self._launching: set[asyncio.Task[None]] = set()
        """Who waits for the first tries of nodes that came."""

    @property
    def named(self) -> Endpoint:
        """Of the leader that was last known to serve; not set before one does."""
        return self._nameds.endpoint

    @property
    def places(self) -> list[Place]:
        """Where its nodes are now."""
        return [node.place for node in self._nodes.values()]

    def _args_of_named(self, place: Place) -> KernelArgs:
        files = str(node_dir(Path(self._args().state_dir), place.number))
        args = self._args()
        # The member of etcd on the node's own host first, if it has one: that one goes with it alone.
        near = sorted(args.etcd_endpoints, key=lambda endpoint: endpoint.rpartition(":")[0] != place.host)
        return msgspec.structs.replace(
            args,
            kernel_id=place.kernel_id,
            host=place.host,
            machine=place.machine,
            node_dir=files,
            etcd_endpoints=tuple(near),
        )

    def _args_at(self, place: Place) -> KernelArgs:
        return msgspec.structs.replace(self._args_of_named(place), named=self.named)

    # -- the start

    async def start(self, places: Sequence[Place]) -> None:
        """Returns once named and all services answer. A SigmaError if they do not; ``stop`` then ends what runs."""
        self.make_ahead(places)
        await self.start_nameds(places)
        await self.start_nodes(places)

    def make_ahead(self, places: Sequence[Place]) -> None:
        """Has the processes of these nodes' services begin, if they have not yet: ``start_nodes`` goes on with them,
        once there is a named. Does not wait."""
        for place in places:
            if place.ray_node_id not in self._nodes:
                self._add_node(place).make_ahead()

    async def start_nameds(self, places: Sequence[Place]) -> None:
        """Returns once one leads: what services are named after stands there. The first of ``places`` is preferred."""
        if not self._named_count:
            return
        async with self._changing:
            await self._nameds.start([place for place in places if not place.unfit])
        standby = f", {self._named_count - 1} standing by" if self._named_count > 1 else ""
        self._on_line(f"named at {self.named.addrs[0]}{standby}")

    async def start_nodes(self, places: Sequence[Place]) -> None:
        """Returns once every service answers on the first node, and those of others have been tried. A SigmaError if
        one of the first node does not; what fails on another is that node's state, and tried again."""
        async with self._changing:
            first, *others = [self._nodes.get(place.ray_node_id) or self._add_node(place) for place in places]
            launched = asyncio.gather(*(self._launch(node) for node in others))
            try:
                await self._start(first)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(launched, self._config.boot.others_start_timeout_s)
            finally:
                launched.cancel()  # who waits; the parts go on
            for node in (first, *others):
                node.others_started()
            self._is_up = True

    def _add_node(self, place: Place) -> NodeParts:
        parts = {service.name: self._part(service, place) for service in self._services}
        node = self._nodes[place.ray_node_id] = NodeParts(place, parts)
        return node

    async def _start(self, node: NodeParts) -> None:
        await node.start()
        self._tell(node)

    async def _launch(self, node: NodeParts) -> None:
        await node.launch()
        self._tell(node)

    async def _follow_launch(self, node: NodeParts) -> None:
        await self._launch(node)
        node.others_started()

    def _tell(self, node: NodeParts) -> None:
        who = f"kernel node {node.place.kernel_id or node.place.host}"
        if up := " ".join(node.services()):
            self._on_line(f"{who}: {up}")
        for name, state in node.states().items():
            if state.cause:
                self._on_line(f"{who}: {name} {state.state}: {state.cause}")

    def _part(self, service: Service, place: Place) -> KernelPart:
        return KernelPart(service, lambda: place, self._args_at, self._config, self._on_change)

    # -- nodes come and go

    async def follow_nodes(self, places: Sequence[Place]) -> None:
        """The nodes may be others now. While the realm starts, processes of those that come begin."""
        if not self._is_up:
            self.make_ahead(places)
            return
        wanted = {place.ray_node_id: place for place in places}
        async with self._changing:
            present = {key: node.place for key, node in self._nodes.items()}
            if not self._is_up or (wanted == present and all(node.is_launched for node in self._nodes.values())):
                return
            # First of all: services that start on a new node need the named that may have gone with another.
            await self._nameds.follow_nodes([place for place in places if not place.unfit])
            for key in [key for key, node in self._nodes.items() if wanted.get(key) != node.place]:
                node = self._nodes.pop(key)
                debug.error(f"node {node.place.kernel_id or node.place.host} is gone")
                node.drop()
            for place in places:
                node = self._nodes.get(place.ray_node_id) or self._add_node(place)
                if not node.is_launched:
                    self._own(self._follow_launch(node))
            self._on_change()

    def _own(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(coroutine, name="launch-node")
        self._launching.add(task)
        task.add_done_callback(self._launching.discard)

    # -- what others see

    def kernel_nodes(self) -> list[KernelNode]:
        """The nodes, each with the services that run there now."""
        return [
            KernelNode(
                id=node.place.kernel_id,
                host=node.place.host,
                ray_node_id=node.place.ray_node_id,
                machine=node.place.machine,
                services={**self._nameds.services_on(node.place.kernel_id), **node.services()},
                parts={**self._nameds.states_on(node.place.kernel_id), **node.states()},
            )
            for node in self._nodes.values()
        ]

    def processes(self) -> list[OsProcess]:
        """Those of all parts that were last seen to run."""
        infos = [info for node in self._nodes.values() for info in node.services().values()]
        return [*self._nameds.processes(), *(info.process for info in infos)]

    async def tell(self, method: str, what: object) -> None:
        """See ``KernelPart.tell``, of all that run."""
        parts = [*self._nameds.parts, *(part for node in self._nodes.values() for part in node.parts.values())]
        await asyncio.gather(*(part.tell(method, what) for part in parts))

    # -- the end

    async def stop(self) -> None:
        """Services first: withdrawing a name needs named. Procs that run are asked to end, then killed."""
        async with self._changing:
            self._is_up = False
            self._forget_launches()
            await asyncio.gather(*(node.stop() for node in self._nodes.values()))
            await self._nameds.stop()

    async def abandon(self) -> None:
        """Ray is gone, and they with it: there is nobody to ask."""
        self._forget_launches()
        for node in self._nodes.values():
            node.abandon()
        await self._nameds.abandon()

    def _forget_launches(self) -> None:
        for task in self._launching:
            task.cancel()

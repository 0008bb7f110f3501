"""What one realm consists of, be it the root realm or a tenant: nameds, and on every kernel node a part per service."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from kernel.boot.keptfiles import node_dir
from kernel.boot.nameds import Nameds
from kernel.boot.part import KernelPart
from sigmaos_ray import debug, serr
from sigmaos_ray.instance import KernelNode

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kernel.boot.placing import Place
    from kernel.service import Service
    from kernel.shell import KernelArgs
    from sigmaos_ray.config import Config
    from sigmaos_ray.sigmap import Endpoint


class NodeParts:
    """The parts of one realm on one kernel node, by the names of their services."""

    def __init__(self, place: Place, parts: dict[str, KernelPart]) -> None:
        self.place = place
        self.parts = parts

    async def start(self) -> None:
        """All at once. Returns when each answers; raises what kept one from it, while the others go on starting."""
        await asyncio.gather(*(part.start() for part in self.parts.values()))

    async def stop(self) -> None:
        await asyncio.gather(*(part.stop() for part in self.parts.values()))

    def abandon(self) -> None:
        for part in self.parts.values():
            part.abandon()


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
            args, kernel_id=place.kernel_id, host=place.host, node_dir=files, etcd_endpoints=tuple(near)
        )

    def _args_at(self, place: Place) -> KernelArgs:
        return msgspec.structs.replace(self._args_of_named(place), named=self.named)

    # -- the start

    async def start(self, places: Sequence[Place]) -> None:
        """Returns once named and all services answer. A SigmaError if they do not; ``stop`` then ends what runs."""
        await self.start_nameds(places)
        await self.start_nodes(places)

    async def start_nameds(self, places: Sequence[Place]) -> None:
        """Returns once one leads: what services are named after stands there. The first of ``places`` is preferred."""
        if not self._named_count:
            return
        async with self._changing:
            await self._nameds.start(places)
        standby = f", {self._named_count - 1} standing by" if self._named_count > 1 else ""
        self._on_line(f"named at {self.named.addrs[0]}{standby}")

    async def start_nodes(self, places: Sequence[Place]) -> None:
        """Returns once every service answers on every node."""
        async with self._changing:
            await asyncio.gather(*(self._add_node(place) for place in places))
            self._is_up = True

    async def _add_node(self, place: Place) -> None:
        parts = {service.name: self._part(service, place) for service in self._services}
        node = self._nodes[place.ray_node_id] = NodeParts(place, parts)
        await node.start()
        if parts:
            self._on_line(f"kernel node {place.kernel_id}: {' '.join(parts)}")

    def _part(self, service: Service, place: Place) -> KernelPart:
        return KernelPart(service, lambda: place, self._args_at, self._config, self._on_change)

    # -- nodes come and go

    async def follow_nodes(self, places: Sequence[Place]) -> None:
        """The nodes may be others now. One whose parts do not start is left out, and tried again at the next call."""
        async with self._changing:
            if self._is_up and {place.ray_node_id for place in places} != set(self._nodes):
                # First of all: services that start on a new node need the named that may have gone with another.
                await self._nameds.follow_nodes(places)
                self._drop_nodes({place.ray_node_id for place in places})
                for place in places:
                    if place.ray_node_id not in self._nodes:
                        await self._try_node(place)

    def _drop_nodes(self, alive: set[str]) -> None:
        for node_id in self._nodes.keys() - alive:
            node = self._nodes.pop(node_id)
            debug.error(f"node {node.place.kernel_id} is gone")
            node.abandon()
            self._on_change()

    async def _try_node(self, place: Place) -> None:
        try:
            await self._add_node(place)
        except serr.SigmaError as error:
            debug.error(f"kernel node on {place.host}: {error}")
            await self._nodes.pop(place.ray_node_id).stop()

    # -- what others see

    def kernel_nodes(self) -> list[KernelNode]:
        """The nodes, each with the services that run there now."""
        return [
            KernelNode(
                id=node.place.kernel_id,
                host=node.place.host,
                ray_node_id=node.place.ray_node_id,
                services={
                    **self._nameds.services_on(node.place.kernel_id),
                    **{name: part.info for name, part in node.parts.items() if part.info is not None},
                },
            )
            for node in self._nodes.values()
        ]

    # -- the end

    async def stop(self) -> None:
        """Services first: withdrawing a name needs named. Procs that run are asked to end, then killed."""
        async with self._changing:
            self._is_up = False
            await asyncio.gather(*(node.stop() for node in self._nodes.values()))
            await self._nameds.stop()

    async def abandon(self) -> None:
        """Ray is gone, and they with it: there is nobody to ask."""
        for node in self._nodes.values():
            node.abandon()
        await self._nameds.abandon()

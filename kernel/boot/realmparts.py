"""What one tenant consists of: nameds of its own, and on every kernel node a schedd, a ux and an s3 of its own."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from kernel.boot.kernels import KernelPart, with_named
from kernel.boot.nameds import Nameds, Place

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kernel.service import Service
    from kernel.shell import KernelArgs
    from sigmaos_ray.config import Config
    from sigmaos_ray.sigmap import Endpoint


class RealmParts:
    """``start``; ``follow_nodes`` as nodes come and go; ``stop``, or ``abandon`` if Ray is gone."""

    def __init__(
        self,
        args: Callable[[], KernelArgs],
        services: Sequence[Service],
        config: Config,
        on_change: Callable[[], None],
    ) -> None:
        """``args``: those of the realm, asked at each start of a part; ``services``: those of a node."""
        self._args = args
        self._services = services
        self._config = config
        self._on_change = on_change
        self._namespace = f"sigmaos-{args().realm}"
        self._nameds = Nameds(1, self._named_args, self._namespace, config, on_change)
        self._nodes: dict[str, list[KernelPart]] = {}
        self._changing = asyncio.Lock()
        """Nodes may come and go while the realm starts or stops."""
        self._is_up = False

    @property
    def named(self) -> Endpoint:
        """Of the leader that was last known to serve."""
        return self._nameds.endpoint

    def _named_args(self, place: Place) -> KernelArgs:
        return with_named(self._args(), place, self.named)

    async def start(self, places: Sequence[Place]) -> None:
        """Returns once named and all services answer. A SigmaError if they do not; ``stop`` then ends what runs."""
        async with self._changing:
            await self._nameds.start(places)
            await asyncio.gather(*(self._add_node(place) for place in places))
            self._is_up = True

    async def follow_nodes(self, places: Sequence[Place]) -> None:
        """The nodes are others now."""
        async with self._changing:
            if self._is_up and {place.ray_node_id for place in places} != set(self._nodes):
                await self._follow_nodes(places)

    async def _follow_nodes(self, places: Sequence[Place]) -> None:
        alive = {place.ray_node_id for place in places}
        await self._nameds.follow_nodes(places)
        for node_id in set(self._nodes) - alive:
            for part in self._nodes.pop(node_id):
                part.abandon()
        for place in places:
            if place.ray_node_id not in self._nodes:
                await self._add_node(place)

    async def _add_node(self, place: Place) -> None:
        parts = self._nodes[place.ray_node_id] = [self._part(service, place) for service in self._services]
        await asyncio.gather(*(part.start() for part in parts))

    def _part(self, service: Service, place: Place) -> KernelPart:
        def args() -> KernelArgs:
            return self._named_args(place)

        return KernelPart(service, args, lambda: place.ray_node_id, self._namespace, self._config, self._on_change)

    async def stop(self) -> None:
        """Services first: withdrawing a name needs named. Procs that run are asked to end, then killed."""
        async with self._changing:
            self._is_up = False
            await asyncio.gather(*(part.stop() for parts in self._nodes.values() for part in parts))
            await self._nameds.stop()

    async def abandon(self) -> None:
        """Ray is gone, and they with it."""
        for parts in self._nodes.values():
            for part in parts:
                part.abandon()
        await self._nameds.abandon()

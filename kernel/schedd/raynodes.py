"""Ray's nodes as one schedd sees them: what they have to give, and which procs went down with one. Pure but for
``look``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
import ray

from kernel.schedd.counters import NodeSize
from kernel.schedd.slots import ClusterSize
from sigmaos_ray.proc import Status

if TYPE_CHECKING:
    from kernel.schedd.places import Runner

_MIB: Final = 1 << 20


class Sighting(msgspec.Struct, frozen=True):
    """The live nodes at one moment."""

    asked_s: float
    """When they were asked for, by the clock of leases."""
    sizes: dict[str, NodeSize]
    """By Ray's ids."""
    hosts_count: int = 1
    """Machines that they are on."""

    def cluster_size(self) -> ClusterSize:
        """Nothing of nodes that are gone."""
        cores = [size.cores for size in self.sizes.values()]
        return ClusterSize(sum(cores), max(cores, default=0.0), self.hosts_count)


def look(now_s: float) -> Sighting:
    """Blocks for Ray's control store. Ray's errors propagate."""
    nodes: Any = ray.nodes  # Ray does not type it
    alive = [node for node in nodes() if node["Alive"]]
    hosts = {node["NodeManagerAddress"] for node in alive}
    return Sighting(now_s, {node["NodeID"]: _size(node["Resources"]) for node in alive}, len(hosts))


def _size(resources: dict[str, float]) -> NodeSize:
    return NodeSize(resources.get("CPU", 0.0), resources.get("memory", 0.0) / _MIB)


class NodeWatch:
    """Which nodes there are. A node of Ray's that is gone never comes back: its host gets another one."""

    def __init__(self) -> None:
        self._alive: frozenset[str] = frozenset()

    def saw(self, sighting: Sighting) -> bool:
        """True if a node that was there at the last sighting is not any more."""
        before, self._alive = self._alive, frozenset(sighting.sizes)
        return bool(before - self._alive)

    @staticmethod
    def has_lost(runner: Runner | None, came_s: float, sighting: Sighting) -> bool:
        """Whether a node took along what ran there. Not what came after the nodes were asked for: its node may be
        new."""
        return runner is not None and came_s < sighting.asked_s and runner.ray_node_id not in sighting.sizes


def lost_with(runner: Runner) -> Status:
    """The end of a proc whose node is gone (X-28)."""
    where = f"kernel node {runner.kernel_id}" if runner.kernel_id else f"Ray node {runner.ray_node_id}"
    return Status.crash(f"node lost: {where} is gone")

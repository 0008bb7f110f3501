"""Where the parts of a realm run: nodes and their names, and on which of them each of a realm's nameds is. Pure."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Place(NamedTuple):
    """A node that kernel parts can run on."""

    ray_node_id: str
    kernel_id: str
    host: str
    """The address that its services bind and publish."""
    number: int = 1
    """Among the nodes of its host."""


def kernel_id_of(ray_node_id: str) -> str:
    """The kernel id of a Ray node: the same for as long as the node lives."""
    return f"sigma-{ray_node_id[:8]}"


def namespace_of(realm: str) -> str:
    """Ray's namespace with the names of a realm's actors."""
    return f"sigmaos-{realm}"


def place(count: int, nodes: Sequence[str], present: Mapping[int, str], stays: int | None = None) -> dict[int, str]:
    """Slot -> node, for ``count`` slots. Who runs on a living node stays there, but for one that shares a node while
    another has none; ``stays`` (the leader) never moves from a living node. No nodes: nowhere."""
    if not nodes:
        return {}
    placed = {slot: node for slot, node in present.items() if node in nodes and slot < count}
    load = Counter(placed.values())
    for slot in range(count):
        if slot not in placed:
            placed[slot] = _emptiest(nodes, load)
            load[placed[slot]] += 1
    for slot in sorted(placed, reverse=True):
        target = _emptiest(nodes, load)
        if slot != stays and load[placed[slot]] > 1 and load[target] == 0:
            load[placed[slot]] -= 1
            load[target] += 1
            placed[slot] = target
    return placed


def numbered(hosts: Mapping[str, str], present: Mapping[str, int], first: str) -> dict[str, int]:
    """Node -> its number among those of its host, from 1. ``hosts``: node -> host. A node keeps the number that it has;
    ``first``, if there, is a 1 while no other has that."""
    numbers = {node: number for node, number in present.items() if node in hosts}
    for node in sorted(hosts.keys() - numbers.keys(), key=lambda node: (node != first, node)):
        taken = {number for other, number in numbers.items() if hosts[other] == hosts[node]}
        numbers[node] = next(number for number in range(1, len(hosts) + 1) if number not in taken)
    return numbers


def _emptiest(nodes: Sequence[str], load: Counter[str]) -> str:
    return min(nodes, key=lambda node: load[node])

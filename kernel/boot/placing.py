"""On which node each of a realm's nameds runs: one per node first. Pure."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


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


def _emptiest(nodes: Sequence[str], load: Counter[str]) -> str:
    return min(nodes, key=lambda node: load[node])

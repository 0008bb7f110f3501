"""Where the parts of a realm run: nodes and their names, and on which of them each of a realm's nameds is. Pure."""

from __future__ import annotations

import ipaddress
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from sigmaos_ray.config import LOOPBACK, NAMED_PORT

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence


class Place(NamedTuple):
    """A node that kernel parts can run on."""

    ray_node_id: str
    kernel_id: str
    host: str
    """The address that its services bind and publish."""
    number: int = 1
    """Among the nodes of its machine."""
    machine: str = ""
    unfit: str = ""
    """Why nothing can run there, in one sentence; empty if it can."""


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches servers at that address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def why_unfit(home_host: str, is_beside: bool) -> str:
    """Why nothing can run on a node, in one sentence, or nothing: ``home_host`` is what the instance listens on,
    ``is_beside`` whether the node is on boot's machine."""
    if is_beside or not is_loopback(home_host):
        return ""
    return (
        f"it is another machine, and the instance listens on {home_host} only: `sigmaos stop` and `sigmaos start`, "
        "which on a Ray of several hosts listens on Ray's address (SIGMAOS_HOST chooses another)"
    )


def named_port(asked: int | None, host: str, number: int) -> int:
    """The port of a host's named of that number, from 1; 0: one that the system chooses. ``asked``: the first one's,
    if somebody asked for one; else there is a steady one where others than this machine use it."""
    first = asked if asked is not None else 0 if is_loopback(host) else NAMED_PORT
    return first + number - 1 if first else 0


def host_for(wanted: str, preset: str, ours: str, addresses: Collection[str] = ()) -> str:
    """The address to bind and to publish: the one that is wanted, if any. Else that of our own Ray node where others
    are to reach it: of a Ray of several hosts, and with the preset for a network. Else loopback: a Ray of one node is
    most often somebody's own machine, which is to serve nobody else unasked."""
    if wanted:
        return wanted
    return ours if preset == "remote" or len(set(addresses)) > 1 else LOOPBACK


def namespace_of(realm: str) -> str:
    """Ray's namespace with the names of a realm's actors."""
    return f"sigmaos-{realm}"


def place(
    count: int,
    nodes: Sequence[str],
    present: Mapping[int, str],
    stays: Collection[int] = (),
    hosts: Mapping[str, str] | None = None,
) -> dict[int, str]:
    """Slot -> node, for ``count`` slots. Who runs on a living node stays there, but for one that shares a host while
    another has none, or a node while another of its host has none; who ``stays`` never moves from a living node. No
    nodes: nowhere. ``hosts``: node -> host, where several nodes may have one."""
    if not nodes:
        return {}
    load = _Load(nodes, hosts or {})
    placed = {slot: node for slot, node in present.items() if node in nodes and slot < count}
    for node in placed.values():
        load.add(node)
    for slot in range(count):
        if slot not in placed:
            placed[slot] = load.emptiest()
            load.add(placed[slot])
    for slot in sorted(placed, reverse=True):
        target = load.better_than(placed[slot])
        if slot not in stays and target is not None:
            load.remove(placed[slot])
            load.add(target)
            placed[slot] = target
    return placed


class _Load:
    """How many are on each node, and on each host."""

    def __init__(self, nodes: Sequence[str], hosts: Mapping[str, str]) -> None:
        self._nodes = nodes
        self._hosts = hosts
        self._on_node: Counter[str] = Counter()
        self._on_host: Counter[str] = Counter()

    def _host(self, node: str) -> str:
        return self._hosts.get(node, node)

    def add(self, node: str) -> None:
        self._on_node[node] += 1
        self._on_host[self._host(node)] += 1

    def remove(self, node: str) -> None:
        self._on_node[node] -= 1
        self._on_host[self._host(node)] -= 1

    def emptiest(self) -> str:
        """A node of a host with the fewest."""
        return min(self._nodes, key=lambda node: (self._on_host[self._host(node)], self._on_node[node]))

    def better_than(self, node: str) -> str | None:
        """A node of a host that has none, if this one's has several; else one of its host that has none, if this one
        has several; else None."""
        host = self._host(node)
        elsewhere = [other for other in self._nodes if not self._on_host[self._host(other)]]
        beside = [other for other in self._nodes if self._host(other) == host and not self._on_node[other]]
        if self._on_host[host] > 1 and elsewhere:
            return elsewhere[0]
        return beside[0] if self._on_node[node] > 1 and beside else None


def numbered(hosts: Mapping[str, str], present: Mapping[str, int], first: str) -> dict[str, int]:
    """Node -> its number among those of its host, from 1. ``hosts``: node -> host. A node keeps the number that it has;
    ``first``, if there, is a 1 while no other has that."""
    numbers = {node: number for node, number in present.items() if node in hosts}
    for node in sorted(hosts.keys() - numbers.keys(), key=lambda node: (node != first, node)):
        taken = {number for other, number in numbers.items() if hosts[other] == hosts[node]}
        numbers[node] = next(number for number in range(1, len(hosts) + 1) if number not in taken)
    return numbers

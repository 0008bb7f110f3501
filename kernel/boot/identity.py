"""Who a Ray node is to the instance: its machine, its number among the nodes of that, and a kernel id that lasts. Pure.

A Ray node has another id after each start. What belongs to a kernel node lies on its host: so does its id.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from kernel.boot.placing import numbered
from sigmaos_ray.machine import OsProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_KERNEL_ID: Final = re.compile(r"sigma-[0-9a-f]{8}")


class Survey(msgspec.Struct, frozen=True, kw_only=True):
    """What was found on the host of a Ray node."""

    machine: str
    host_name: str
    kernel_ids: dict[int, str] = {}
    """Those that are kept there, by the number of the node."""
    raylet: OsProcess | None = None
    gone: tuple[str, ...] = ()
    """Of the Ray nodes that were asked about those whose raylets ran on this machine and have ended."""
    certificate_request: bytes = b""
    """What the host asks for; empty where there is no TLS."""


class Identity(NamedTuple):
    """A kernel node, whatever Ray calls it."""

    machine: str
    number: int
    """Among the nodes of its machine, from 1."""
    kernel_id: str


def identify(
    surveys: Mapping[str, Survey], present: Mapping[str, Identity], first: str, new_id: Callable[[], str]
) -> dict[str, Identity]:
    """The identities of Ray nodes that were surveyed, by Ray's ids; ``present``: of those that are known, which keep
    theirs. A node has the id that is kept on its host for its number, unless another one has it by now: where a
    directory was copied to another machine, who comes later gets a new one. ``first`` comes before all others."""
    machines = {node: identity.machine for node, identity in present.items()}
    machines |= {node: survey.machine for node, survey in surveys.items()}
    numbers = numbered(machines, {node: identity.number for node, identity in present.items()}, first)
    taken = {identity.kernel_id for identity in present.values()}
    found: dict[str, Identity] = {}
    for node in sorted(surveys, key=lambda node: (node != first, node)):
        kernel_id = surveys[node].kernel_ids.get(numbers[node], "")
        while not _KERNEL_ID.fullmatch(kernel_id) or kernel_id in taken:
            kernel_id = new_id()
        taken.add(kernel_id)
        found[node] = Identity(machines[node], numbers[node], kernel_id)
    return found

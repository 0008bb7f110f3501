"""The changes of a Ttransact, from the wire."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sigmaos_ray import serr
from sigmaos_ray.protsrv import limits
from sigmaos_ray.protsrv.node import ChangeKind, EntryChange

if TYPE_CHECKING:
    from sigmaos_ray.pb import sigmap_pb2 as pb
    from sigmaos_ray.protsrv.node import Dir

SEQUENCE_DIGITS: Final = 10
"""Of the number that a sequential entry's name ends in, as ZooKeeper's."""


def sequential_name(prefix: str, number: int) -> str:
    """The name of a sequential entry: in text order as in the order of numbers."""
    return f"{prefix}{number:0{SEQUENCE_DIGITS}d}"


def change_from_pb(change: pb.Change, directory: Dir) -> EntryChange:
    """A change in that directory, as nodes have it. Inval if it asks for what no server does."""
    name = change.name
    try:
        kind = ChangeKind(change.kind)
    except ValueError as error:
        raise serr.Inval(name, f"no such kind of change: {change.kind}") from error
    # With its digits: a prefix that is just short enough would become a name that is too long.
    limits.check_new_name(sequential_name(name, 0) if change.sequential else name)
    limits.check_lease(name, change.lease)
    if kind is not ChangeKind.CREATE and change.sequential:
        raise serr.Inval(name, "only what is made gets a number")
    if kind is ChangeKind.CREATE and change.version:
        raise serr.Inval(name, "what is made has no version before")
    if kind not in (ChangeKind.CREATE, ChangeKind.PUT) and change.data:
        raise serr.Inval(name, "contents for a change that writes nothing")
    return EntryChange(kind, directory, name, change.version, change.perm, change.lease, change.data, change.sequential)

"""Transactions: several changes in one moment, or none (ZooKeeper's multi), and names that count up (its sequential
nodes)."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from sigmaos_ray import serr
from sigmaos_ray.fslib.part import FsPart, lease_id_of
from sigmaos_ray.fslib.pathnames import parse
from sigmaos_ray.fslib.repeats import NEVER_RAN
from sigmaos_ray.pb import sigmap_pb2 as pb
from sigmaos_ray.sigmap import DMDIR, DMTMP, NO_LEASE, Perm

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sigmaos_ray.fslib.fidclnt import RemoteFid
    from sigmaos_ray.fslib.walk import Walked


class Create(msgspec.Struct, frozen=True):
    """Makes a file that holds ``data``, or with DMDIR in ``perm`` a directory. Exists if the name is taken.

    ``sequential``: the name is ``pathname`` (``name/q/e-``, or ``name/q/`` for a bare number) with the directory's
    next number behind it, in ten digits. A number is given once, and who sees an entry of the directory with one sees
    all with smaller ones that are ever made. ``lease``: the file goes with it."""

    pathname: str
    data: bytes = b""
    perm: Perm = 0o777
    lease: object = None
    sequential: bool = False


class Put(msgspec.Struct, frozen=True):
    """Replaces a file's contents. NotFound without it; Version if its qid has another version than ``version``, unless
    that is 0."""

    pathname: str
    data: bytes
    version: int = 0


class Remove(msgspec.Struct, frozen=True):
    """Takes a file or an empty directory away, in that version (0: in any). Else as ``Put``."""

    pathname: str
    version: int = 0


class Check(msgspec.Struct, frozen=True):
    """Changes nothing: what it names is there, in that version (0: in any), when the others happen."""

    pathname: str
    version: int = 0


Change: TypeAlias = Create | Put | Remove | Check


class Changed(msgspec.Struct, frozen=True):
    """What a change came to."""

    pathname: str
    """With its number, if it got one."""
    version: int
    """Of the object's qid now; 0 if it is gone."""


class TransactionCalls(FsPart):
    """Calls that change several names at once."""

    async def transact(self, changes: Sequence[Change]) -> list[Changed]:
        """Makes all changes in one moment, or raises the first one's error with its pathname, and none is made.

        All are on one server, and none depends on another: a name stands in one of them, and no change is below a
        directory that another one makes or removes (Inval). At most 32 changes, with 1 MiB of data. NotSupported by
        servers other than named; Stale if the fence of any of the directories is over; IOErr: sent, fate unknown."""
        changes = list(changes)
        if not changes:
            return []
        places = [_parts_of(change) for change in changes]
        if short := [change.pathname for change, parts in zip(changes, places, strict=True) if len(parts) < 2]:
            raise serr.Inval(short[0], "the root cannot be changed")
        try:
            return await self.core.repeats.call(lambda: self._transact(changes, places), NEVER_RAN)
        except serr.SigmaError as error:
            _name(error, changes, places)
            raise

    async def _transact(self, changes: list[Change], places: list[list[str]]) -> list[Changed]:
        """Walks to the directories, and sends all in one message, with the fence of each of them."""
        ways = ["/".join(parts[:-1]) for parts in places]
        with ExitStack() as stack:
            walked: dict[str, Walked] = {}
            for way, parts in zip(ways, places, strict=True):
                if way not in walked:
                    walked[way] = await self.core.walker.walk_through(parts[:-1], resolve=True)
                    stack.enter_context(self.core.freeing(walked[way]))
            first = walked[ways[0]].fid
            if other := [way for way, there in walked.items() if there.fid.session is not first.session]:
                raise serr.Inval(other[0], f"a transaction stays within one server, that of {ways[0]}")
            requests = [
                _to_pb(change, walked[way].fid, parts[-1])
                for change, way, parts in zip(changes, ways, places, strict=True)
            ]
            fences = {
                self.core.fence_of(parts, [*walked[way].parts, parts[-1]])
                for way, parts in zip(ways, places, strict=True)
            }
            replies = await first.transact(requests, sorted(filter(None, fences)))
        return [Changed(f"{way}/{reply.name}", reply.version) for way, reply in zip(ways, replies, strict=True)]


def _parts_of(change: Change) -> list[str]:
    parts, _ = parse(change.pathname)
    # ``name/q/`` asks for a bare number: its last component is empty, and the server fills it in.
    is_bare = isinstance(change, Create) and change.sequential and change.pathname.endswith("/")
    return [*parts, ""] if is_bare else parts


def _to_pb(change: Change, directory: RemoteFid, name: str) -> pb.Change:
    request = pb.Change(dirfid=directory.number, name=name)
    if isinstance(change, Create):
        lease = NO_LEASE if change.lease is None else lease_id_of(change.pathname, change.lease)
        request.kind = pb.Change.CREATE
        request.perm = change.perm | (DMTMP if lease else 0)
        request.lease, request.sequential = lease, change.sequential
        if change.data and change.perm & DMDIR:
            raise serr.Inval(change.pathname, "a directory has no contents")
        request.data = change.data
        return request
    request.version = change.version
    if isinstance(change, Put):
        request.kind, request.data = pb.Change.PUT, change.data
    elif isinstance(change, Remove):
        request.kind = pb.Change.REMOVE
    else:
        request.kind = pb.Change.CHECK
    return request


def _name(error: serr.SigmaError, changes: Sequence[Change], places: Sequence[list[str]]) -> None:
    """Gives an error that names a component the pathname of its change."""
    for change, parts in zip(changes, places, strict=True):
        if error.obj == parts[-1]:
            error.obj = change.pathname
            error.args = (error.obj, error.msg)
            return

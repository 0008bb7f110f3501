"""Fences in named: the newest one per pathname, kept in etcd beside the tree, so that a new leader knows them too.

A change that carries a newer fence stores it in the same transaction. A fence of a leadership that was won in named
(L-22) also names the key that the leadership hangs on: its changes ask, in their transactions, that this key still
is the one that was won. So its holder is shut out at the moment at which etcd deletes the key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from kernel.named.keys import Ops
from sigmaos_ray import serr
from sigmaos_ray.protsrv.fences import FenceTable
from sigmaos_ray.sigmap import Fence

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kernel.named.keys import Keys


class StoredFence(msgspec.Struct, frozen=True, array_like=True):
    """A fence as etcd keeps it."""

    epoch: int
    seqno: int
    held_key: bytes = b""
    """Of a leadership won in named: the key that exists, created at revision ``epoch``, while it holds."""


class Admitted(msgspec.Struct, frozen=True):
    """What a fenced change takes along: what to store with it, and which key must have been created when."""

    ops: Ops = {}
    held: tuple[bytes, int] | None = None


_FREELY = Admitted()


class NamedFences:
    """The fences of one realm. Pure; what ``admit`` says to store is stored by the committer, who says so after."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self.table = FenceTable()
        self._stored: dict[str, StoredFence] = {}

    def load(self, stored: Iterable[tuple[str, StoredFence]]) -> None:
        """Takes in what etcd has."""
        self._stored = dict(stored)
        self.table = FenceTable(Fence(name, kept.epoch, kept.seqno) for name, kept in self._stored.items())

    def admit(self, fence: Fence) -> Admitted:
        """Stale for a fence that a newer one has overtaken."""
        if not fence:
            return _FREELY
        self.table.check(fence)
        kept = self._stored.get(fence.pathname)
        if kept is None or (fence.epoch, fence.seqno) > (kept.epoch, kept.seqno):
            held = kept.held_key if kept is not None and kept.epoch == fence.epoch else b""
            record = StoredFence(fence.epoch, fence.seqno, held)
            ops: Ops = {self._keys.fence(fence.pathname): (msgspec.msgpack.encode(record), 0)}
        else:
            held, ops = kept.held_key, {}
        return Admitted(ops, (held, fence.epoch) if held else None)

    def stored(self, fence: Fence) -> None:
        """What ``admit`` gave for this fence stands in etcd now."""
        kept = self._stored.get(fence.pathname)
        if kept is None or (fence.epoch, fence.seqno) > (kept.epoch, kept.seqno):
            held = kept.held_key if kept is not None and kept.epoch == fence.epoch else b""
            self._stored[fence.pathname] = StoredFence(fence.epoch, fence.seqno, held)

    def over(self, fence: Fence) -> serr.Stale:
        """The error of a fence whose leadership ended, as etcd said."""
        return serr.Stale(fence.pathname, f"the leadership of epoch {fence.epoch} ended")

    def forget_ops(self, pathname: str) -> Ops:
        """What to store so that a fence is forgotten. NotFound if there is none."""
        if all(fence.pathname != pathname for fence in self.table.newest()):
            raise serr.NotFound(pathname)
        return {self._keys.fence(pathname): (None, 0)}

    def forgotten(self, pathname: str) -> None:
        """What ``forget_ops`` gave stands in etcd now."""
        self._stored.pop(pathname, None)
        self.table.forget(pathname)

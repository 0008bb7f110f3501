"""Fences in named: the newest one per pathname, kept in etcd beside the tree, so that a new leader knows them too.

A change that carries a newer fence stores it in the same transaction. What the table forgets goes from etcd with the
changes that come next, a few at a time, and the epoch up to which it has forgotten stands there before any of them is
gone. Of leaders that lead nothing is forgotten.

A leader file is a leased device file: who makes it leads, under the fence of its pathname, and the epoch is the
revision at which it was made (L-22, L-30). The changes of a leader ask, in their transactions, that the file's entry
still is the one that was made then. So a leader is shut out at the moment at which etcd deletes the entry.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

import msgspec

from kernel.named.keys import Ops
from sigmaos_ray import serr
from sigmaos_ray.protsrv.fences import FORGOTTEN, FenceTable
from sigmaos_ray.sigmap import Fence

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from kernel.named.keys import Keys
    from sigmaos_ray.config import Named, Store


class StoredFence(msgspec.Struct, frozen=True, array_like=True):
    """A fence as etcd keeps it."""

    epoch: int
    """0: the revision at which this was stored, which nobody knows before."""
    seqno: int
    held_key: bytes = b""
    """Of a leader file: the key of its entry, created at revision ``epoch`` for as long as it leads."""

    def stored_at(self, revision: int) -> StoredFence:
        return self if self.epoch else StoredFence(revision, self.seqno, self.held_key)


class Admitted(msgspec.Struct, frozen=True):
    """What a fenced change takes along: what to store with it, and which keys must have been created when."""

    ops: Ops = {}
    held: tuple[tuple[bytes, int], ...] = ()


_FREELY = Admitted()

_NEVER: Final = StoredFence(0, 0)


class Forgetting(msgspec.Struct, frozen=True):
    """What a change takes along of what was forgotten."""

    ops: Ops = {}
    pathnames: tuple[str, ...] = ()
    epoch: int = 0


_NOTHING = Forgetting()


def _nothing_is(_entry_key: bytes) -> bool:
    return False


class NamedFences:
    """The fences of one realm. Pure; what ``admit`` says to store is stored by the committer, who says so after."""

    def __init__(self, keys: Keys, config: Named, limits: Store | None = None) -> None:
        self._keys = keys
        self._forgotten_at_once = config.fences_forgotten_max
        self._limits = limits
        self._stored: dict[str, StoredFence] = {}
        self._to_forget: dict[str, None] = {}
        """What the table has forgotten, and etcd has, or is about to have."""
        self.table = self._table(())
        self.is_there: Callable[[bytes], bool] = _nothing_is
        """Whether the tree has a leased file by the key of its entry. Set by who has the tree."""

    def load(self, stored: Iterable[tuple[str, StoredFence]]) -> None:
        """Takes in what etcd has."""
        self._stored = dict(stored)
        self.table = self._table(Fence(name, newest.epoch, newest.seqno) for name, newest in self._stored.items())

    def _table(self, known: Iterable[Fence]) -> FenceTable:
        return FenceTable(known, limits=self._limits, is_held=self._is_held, on_forget=self._forget_later)

    def _is_held(self, fence: Fence) -> bool:
        stored = self._stored.get(fence.pathname)
        return stored is not None and bool(stored.held_key) and self.is_there(stored.held_key)

    def _forget_later(self, pathname: str) -> None:
        self._to_forget[pathname] = None

    def forgetting(self) -> Forgetting:
        """What the next change stores of what was forgotten; ``forgot`` once it has."""
        epoch = self.table.forgotten_epoch
        if not self._to_forget and epoch <= self._stored.get(FORGOTTEN, _NEVER).epoch:
            return _NOTHING
        pathnames = tuple(itertools.islice(self._to_forget, self._forgotten_at_once))
        ops: Ops = {self._keys.fence(pathname): (None, 0) for pathname in pathnames}
        ops[self._keys.fence(FORGOTTEN)] = (msgspec.msgpack.encode(StoredFence(epoch, 0)), 0)
        return Forgetting(ops, pathnames, epoch)

    def forgot(self, forgetting: Forgetting) -> None:
        """What ``forgetting`` gave stands in etcd now."""
        for pathname in forgetting.pathnames:
            # One that was used again meanwhile is not among them any more: a change that comes later stores it.
            if pathname in self._to_forget:
                del self._to_forget[pathname]
                self._stored.pop(pathname, None)
        if forgetting.epoch:
            self._stored[FORGOTTEN] = StoredFence(forgetting.epoch, 0)

    def admit(self, *fences: Fence) -> Admitted:
        """Stale for a fence that a newer one has overtaken, and for one of a leader that there never was; then none of
        them is remembered."""
        fences = tuple(filter(None, fences))
        if not fences:
            return _FREELY
        for fence in fences:
            newest = self._stored.get(fence.pathname)
            if newest is not None and newest.held_key and fence.epoch > newest.epoch:
                raise serr.Stale(fence.pathname, f"nobody led in epoch {fence.epoch}")
        self.table.check(*fences)
        ops: Ops = {}
        held: list[tuple[bytes, int]] = []
        for fence in fences:
            record = self._newer(fence)
            if record is not None:
                ops[self._keys.fence(fence.pathname)] = (msgspec.msgpack.encode(record), 0)
            held_key = (record or self._stored[fence.pathname]).held_key
            if held_key:
                held.append((held_key, fence.epoch))
        return Admitted(ops, tuple(held))

    def _newer(self, fence: Fence) -> StoredFence | None:
        """What is to be stored for a fence; None if it is stored."""
        newest = self._stored.get(fence.pathname)
        if newest is not None and (fence.epoch, fence.seqno) <= (newest.epoch, newest.seqno):
            return None
        held_key = newest.held_key if newest is not None and newest.epoch == fence.epoch else b""
        return StoredFence(fence.epoch, fence.seqno, held_key)

    def stored(self, *fences: Fence) -> None:
        """What ``admit`` gave for these fences stands in etcd now."""
        for fence in fences:
            record = self._newer(fence)
            if record is not None:
                self._stored[fence.pathname] = record
                # The table may have forgotten it while it was on its way to etcd.
                if self.table.knows(fence.pathname):
                    self._to_forget.pop(fence.pathname, None)
                else:
                    self._to_forget[fence.pathname] = None

    def election_ops(self, pathname: str, entry_key: bytes) -> Ops:
        """What to store together with a leader file."""
        return {self._keys.fence(pathname): (msgspec.msgpack.encode(StoredFence(0, 0, entry_key)), 0)}

    def elected(self, pathname: str, entry_key: bytes, revision: int) -> None:
        """A leader file was made at ``revision``, which is the epoch now, whatever fence there was before."""
        self._stored[pathname] = StoredFence(revision, 0, entry_key)
        self._to_forget.pop(pathname, None)
        self.table.remember(Fence(pathname, revision))

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
        self._to_forget.pop(pathname, None)
        self.table.forget(pathname)

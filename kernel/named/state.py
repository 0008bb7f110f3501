"""named's tree in memory, pure: plans changes, applies them once they are committed; no etcd, no loop, no clock.

A plan is made under the locks that ``nodes.py`` holds, stored by ``committer.py``, and applied with the revision of its
commit, which becomes the version of what changed. Planning refuses what may not be; applying cannot fail.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from typing import TYPE_CHECKING, Final

import msgspec

from sigmaos_ray import serr
from sigmaos_ray.protsrv.node import check_no_server
from sigmaos_ray.protsrv.watch import Event, EventKind
from sigmaos_ray.sigmap import (
    BOOT,
    DMDEVICE,
    DMDIR,
    DMMOUNT,
    DMNAMEDPIPE,
    DMSYMLINK,
    DMTMP,
    KPIDS,
    NAMED_ROOT_DIRS,
    NO_LEASE,
    NO_OFFSET,
    PERM_MASK,
    REALM,
    Qid,
    named_election,
    path,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

ROOT_INO: Final = 1
_OF_BOOT: Final = frozenset(map(path.basename, (BOOT, KPIDS, REALM)))
"""Directories of the root that boot alone writes in, on its own or since somebody asked for a realm."""
_KINDS: Final = DMDIR | DMSYMLINK | DMMOUNT | DMDEVICE | DMTMP | PERM_MASK


class Meta(msgspec.Struct, frozen=True, array_like=True):
    """What etcd keeps of an object, beside its contents."""

    perm: int
    mtime: float
    next_number: int = 0
    """Of a directory: what the next sequential entry's name ends in."""


class Inode:
    """One object. Directories have children; files have a length, and their contents while they are cached."""

    # A realm may have very many of these, in the memory of its leader and of each standby.
    __slots__ = (
        "children",
        "data",
        "ino",
        "lease",
        "length",
        "linked_at",
        "mtime",
        "name",
        "names",
        "next_number",
        "parent",
        "perm",
        "version",
    )

    def __init__(self, ino: int, perm: int, lease: int = NO_LEASE) -> None:
        self.ino = ino
        self.perm = perm
        self.lease = lease
        self.version = 0
        self.linked_at = 0
        """The revision at which it got its present name."""
        self.mtime = 0.0
        self.length = 0
        self.name = ""
        self.parent: Inode | None = None
        """None for the root, and once it is removed."""
        self.data: bytes | None = None
        """None while they stand in etcd only."""
        self.children: dict[str, Inode] = {}
        # Kept sorted: a page of a large directory is found without sorting it.
        self.names: list[str] = []
        self.next_number = 0

    @property
    def is_dir(self) -> bool:
        return bool(self.perm & DMDIR)


class Entry(msgspec.Struct, frozen=True):
    """A name in a directory, as it is stored; of the etcd lease it hangs on, if any."""

    dir_ino: int
    name: str
    ino: int
    lease: int = NO_LEASE


class Contents(msgspec.Struct, frozen=True):
    """An object as it is stored."""

    ino: int
    meta: Meta
    data: bytes
    lease: int = NO_LEASE


class Plan(msgspec.Struct):
    """A change: what to store and to delete, and how the tree changes once that is done."""

    put_entries: list[Entry] = []
    put_contents: list[Contents] = []
    delete_entries: list[Entry] = []
    delete_contents: list[tuple[int, int]] = []
    """Inode numbers and leases."""
    added: Inode | None = None
    data: bytes | None = None
    """The new contents of the file concerned."""


class InodeTree:
    """All objects of a realm's named."""

    def __init__(self) -> None:
        self.root = Inode(ROOT_INO, DMDIR | 0o777)
        self.inodes: dict[int, Inode] = {ROOT_INO: self.root}
        self.contents_bytes = 0
        """Of all files."""

    # -- loading

    def load(self, contents: Contents, revision: int) -> Inode:
        """Takes in an object as it is stored, with the revision of its last change; it has no name yet."""
        inode = self.root if contents.ino == ROOT_INO else Inode(contents.ino, contents.meta.perm, contents.lease)
        inode.version, inode.mtime, inode.perm = revision, contents.meta.mtime, contents.meta.perm
        inode.next_number = contents.meta.next_number
        inode.data, inode.length = contents.data, len(contents.data)
        self._keep(inode)
        return inode

    def link(self, entries: Iterable[Entry], revision: int) -> list[Inode]:
        """Gives what was loaded its names. Takes out, and returns, what no entry names: a stray of another time.

        ``revision``: at which the tree was read. Directories take it as their version, since entries whose lease ended
        while nobody led left no trace in theirs, and a version never goes back.
        """
        for entry in entries:
            directory, inode = self.inodes.get(entry.dir_ino), self.inodes.get(entry.ino)
            if directory is not None and inode is not None:
                # Sorted once, below: name by name, a large directory would take quadratic time.
                self._link(directory, entry.name, inode, sort=False)
        strays = [inode for inode in self.inodes.values() if inode.parent is None and inode is not self.root]
        for stray in strays:
            self._drop(stray)
        for inode in self.inodes.values():
            if inode.is_dir:
                inode.names.sort()
                inode.version = revision
        return strays

    def leased(self) -> list[Inode]:
        """All leased files."""
        return [inode for inode in self.inodes.values() if inode.lease]

    # -- planning

    def plan_create(
        self, directory: Inode, name: str, ino: int, perm: int, data: bytes, lease: int, now: float
    ) -> Plan:
        self.check_alive(directory)
        if name in directory.children:
            raise serr.Exists(name)
        if perm & DMNAMEDPIPE:
            raise serr.NotSupported(name, "named keeps no pipes: make them in ux, or in a program's own server")
        if perm & ~_KINDS:
            raise serr.Inval(name, f"no such kind of file: perm {perm:#x}")
        if lease and perm & DMDIR:
            raise serr.NotSupported(name, "a leased directory")
        inode = Inode(ino, perm, lease)
        inode.mtime, inode.length = now, len(data)
        # The directory is stored as well: the revision of its key is its version, and its next number stands there.
        return Plan(
            put_entries=[Entry(directory.ino, name, ino, lease)],
            put_contents=[Contents(ino, Meta(perm, now), data, lease), _touched(directory, now)],
            added=inode,
            data=data,
        )

    def plan_write(self, inode: Inode, data: bytes, now: float, lease: int = NO_LEASE) -> Plan:
        """Replaces the whole contents: parts are merged by the caller. ``lease``: the file hangs on it from now on;
        without one it stays on the one it has."""
        if lease in (NO_LEASE, inode.lease):
            return Plan(put_contents=[Contents(inode.ino, Meta(inode.perm, now), data, inode.lease)], data=data)
        directory = self.parent_of(inode)
        plan = Plan(
            put_entries=[Entry(directory.ino, inode.name, inode.ino, lease)],
            put_contents=[Contents(inode.ino, Meta(inode.perm | DMTMP, now), data, lease)],
            data=data,
        )
        # Leased files stand in tables of their own: it moves there. From lease to lease its keys stay.
        if not inode.lease:
            plan.delete_entries = [Entry(directory.ino, inode.name, inode.ino)]
            plan.delete_contents = [(inode.ino, NO_LEASE)]
        return plan

    def plan_remove(self, inode: Inode, now: float) -> Plan:
        directory = self.parent_of(inode)
        self.check_goes(inode)
        if inode.children:
            raise serr.NotEmpty(inode.name)
        return Plan(
            put_contents=[_touched(directory, now)],
            delete_entries=[Entry(directory.ino, inode.name, inode.ino, inode.lease)],
            delete_contents=[(inode.ino, inode.lease)],
        )

    def plan_rename(self, inode: Inode, target: Inode, new_name: str, now: float) -> Plan:
        directory = self.parent_of(inode)
        self.check_goes(inode)
        self.check_alive(target)
        if inode.is_dir and self.is_below(target, inode):
            raise serr.Inval(new_name, "a directory cannot move into itself")
        touched = [_touched(directory, now)] + ([_touched(target, now)] if target is not directory else [])
        plan = Plan(
            put_entries=[Entry(target.ino, new_name, inode.ino, inode.lease)],
            put_contents=touched,
            delete_entries=[Entry(directory.ino, inode.name, inode.ino, inode.lease)],
        )
        victim = target.children.get(new_name)
        if victim is not None:
            self.check_goes(victim)
            _check_replaceable(victim, inode)
            plan.delete_contents = [(victim.ino, victim.lease)]
            # In one table the put replaces the victim's entry. In the other it would stay, a second one of this name.
            if bool(victim.lease) != bool(inode.lease):
                plan.delete_entries.append(Entry(target.ino, new_name, victim.ino, victim.lease))
        return plan

    def parent_of(self, inode: Inode) -> Inode:
        if inode.parent is None:
            if inode is self.root:
                raise serr.Inval("/", "the root cannot be removed or renamed")
            raise serr.NotFound(inode.name)
        return inode.parent

    def stays(self, inode: Inode) -> bool:
        """True for the root, and for the directories in it that the instance keeps its services' names in."""
        if inode.parent is not self.root:
            return inode is self.root
        return inode.is_dir and (inode.name in NAMED_ROOT_DIRS or inode.name.startswith(named_election("")))

    def check_goes(self, inode: Inode) -> None:
        """NoRemove for what stays under its name."""
        if inode.parent is not None and self.stays(inode):
            raise serr.NoRemove(inode.name, "the instance keeps the names of its services there")

    def check_known(self, inode: Inode) -> None:
        """NoRemove for what the instance says of itself, where nothing but a name was looked at."""
        directory = inode.parent
        if directory is not None and directory.parent is self.root and directory.name in _OF_BOOT:
            raise serr.NoRemove(inode.name, "the instance keeps it there")

    def check_alive(self, directory: Inode) -> None:
        if directory.parent is None and directory is not self.root:
            raise serr.NotFound(directory.name, "the directory was removed")

    def is_below(self, inode: Inode, other: Inode) -> bool:
        here: Inode | None = inode
        while here is not None and here is not other:
            here = here.parent
        return here is other

    # -- applying

    def apply_create(self, directory: Inode, name: str, plan: Plan, revision: int, now: float) -> Inode:
        inode = plan.added
        assert inode is not None
        inode.version = inode.linked_at = revision
        inode.data = plan.data
        self._keep(inode)
        self._link(directory, name, inode)
        self._touch(directory, revision, now)
        return inode

    def apply_write(self, inode: Inode, data: bytes, revision: int, now: float, lease: int = NO_LEASE) -> None:
        if inode.ino in self.inodes:  # and not removed while somebody has it open
            self.contents_bytes += len(data) - inode.length
        inode.data, inode.length = data, len(data)
        inode.version, inode.mtime = revision, now
        if lease not in (NO_LEASE, inode.lease):
            # Linked anew: an end of the old lease that is told late does not concern it any more.
            inode.lease, inode.linked_at = lease, revision
            inode.perm |= DMTMP

    def apply_remove(self, inode: Inode, revision: int, now: float) -> None:
        directory = self.parent_of(inode)
        self._unlink(inode)
        self._drop(inode)
        self._touch(directory, revision, now)

    def apply_rename(
        self, inode: Inode, target: Inode, new_name: str, revision: int, now: float
    ) -> list[tuple[int, Event]]:
        """Returns the events, with the inode of the directory that each is about."""
        source = self.parent_of(inode)
        events: list[tuple[int, Event]] = []
        victim = target.children.get(new_name)
        if victim is not None:
            self._unlink(victim)
            self._drop(victim)
            events.append((target.ino, Event(EventKind.REMOVED, new_name)))
        # Removals first: to a watcher, no name is ever there twice.
        events.append((source.ino, Event(EventKind.REMOVED, inode.name)))
        self._unlink(inode)
        self._link(target, new_name, inode)
        inode.linked_at = revision
        events.append((target.ino, Event(EventKind.CREATED, new_name)))
        self._touch(source, revision, now)
        self._touch(target, revision, now)
        return events

    def _keep(self, inode: Inode) -> None:
        before = self.inodes.get(inode.ino)
        self.contents_bytes += inode.length - (before.length if before not in (None, inode) else 0)
        self.inodes[inode.ino] = inode

    def _drop(self, inode: Inode) -> None:
        if self.inodes.pop(inode.ino, None) is not None:
            self.contents_bytes -= inode.length

    def _touch(self, inode: Inode, revision: int, now: float) -> None:
        # The end of a lease may be told after later changes, and a version never goes back.
        inode.version = max(inode.version, revision)
        inode.mtime = now

    def _link(self, directory: Inode, name: str, inode: Inode, *, sort: bool = True) -> None:
        directory.children[name] = inode
        if sort:
            insort(directory.names, name)
        else:
            directory.names.append(name)
        inode.parent, inode.name = directory, name

    def _unlink(self, inode: Inode) -> None:
        directory = inode.parent
        assert directory is not None
        del directory.children[inode.name]
        del directory.names[bisect_left(directory.names, inode.name)]
        inode.parent = None


def page(directory: Inode, after: str, limit: int) -> list[Inode]:
    """At most ``limit`` children whose names sort after ``after``."""
    start = bisect_right(directory.names, after) if after else 0
    return [directory.children[name] for name in directory.names[start : start + limit]]


def merged(old: bytes, offset: int, data: bytes) -> bytes:
    """The contents after a write: a gap is filled with zeros, NO_OFFSET appends."""
    # Callers check the size before: an offset far beyond the end would fill the memory with zeros.
    start = len(old) if offset == NO_OFFSET else offset
    return old[:start].ljust(start, b"\0") + data + old[start + len(data) :]


def _touched(directory: Inode, now: float) -> Contents:
    return Contents(directory.ino, Meta(directory.perm, now, directory.next_number), b"", directory.lease)


def _check_replaceable(victim: Inode, by: Inode) -> None:
    check_no_server(victim.name, Qid.of(victim.perm, victim.version, victim.ino))
    if victim.is_dir:
        if not by.is_dir:
            raise serr.IsDir(victim.name)
        if victim.children:
            raise serr.NotEmpty(victim.name)
    elif by.is_dir:
        raise serr.NotDir(victim.name)

"""What named's nodes share: the tree, its locks, and changes as they are planned and applied.

Locks: an operation holds the directory shared and the entry exclusively, so that operations on different names run
side by side and share transactions; removing a directory holds it exclusively; a write holds the file exclusively;
renames of directories take one lock for all, so that no two of them can make a ring. An operation takes all its locks
at once (``LockTable`` orders them). Which ones it needs may change until it has them: then it begins again.

Between planning a change and handing it to the committer nothing waits: so plans reach etcd in the order in which they
were made, and what one of them keeps of a directory is not older than what the one before it kept.
"""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from kernel.named.pathstats import PathStats, pathname_of
from kernel.named.state import Inode, InodeTree, Plan
from sigmaos_ray import serr
from sigmaos_ray.protsrv.devices import ReportNode
from sigmaos_ray.protsrv.fences import FencesDir
from sigmaos_ray.protsrv.locks import LockTable
from sigmaos_ray.sigmap import DMDEVICE, DMTMP, NO_LEASE, PSTATSD, Fence

if TYPE_CHECKING:
    from collections.abc import Callable

    from kernel.named.committer import Committer
    from kernel.named.contents import ContentsCache
    from kernel.named.keys import Keys, Ops
    from sigmaos_ray.config import Named
    from sigmaos_ray.protsrv.node import Node, OpenHow
    from sigmaos_ray.protsrv.watch import WatchTable

Key = tuple[int, str]
CONTENTS: Final = "/contents"
"""Beside an object's number: the lock of its contents. No entry has such a name."""
_PSTATS_PATH: Final = 0x11


class Prepared(NamedTuple):
    """A change that may be committed while its locks are held."""

    plan: Plan
    apply: Callable[[int], None]
    inode: Inode
    """What it makes, writes or removes."""
    beside: Ops | None = None


class NamedFs:
    """What all nodes share. ``lead`` gives it a tree and a way to commit; until then ``guard`` refuses requests."""

    def __init__(self, watches: WatchTable, config: Named, keys: Keys, dir_entries_max: int = 1_000_000) -> None:
        self.watches = watches
        self.dir_entries_max = dir_entries_max
        self.config = config
        self.keys = keys
        self.pathstats = PathStats()
        self.tree = InodeTree()
        self.locks: LockTable[Key] = LockTable()
        self.files_max = 0
        """Files and directories of the realm, 0: any number. Changes that are under way are not counted."""
        self.bytes_max = 0
        """The same of their contents."""
        self._committer: Committer | None = None
        self._contents: ContentsCache | None = None

    def lead(self, tree: InodeTree, contents: ContentsCache, committer: Committer) -> None:
        self.tree = tree
        self._contents = contents
        self._committer = committer
        committer.fences.is_there = self._is_leased

    def _is_leased(self, entry_key: bytes) -> bool:
        """Whether there is a leased file by that key of its entry: a leader's, who leads as long."""
        place = self.keys.parse_entry_key(entry_key)
        directory = self.tree.inodes.get(place[0]) if place is not None else None
        inode = directory.children.get(place[1]) if directory is not None and place is not None else None
        return inode is not None and inode.lease != NO_LEASE

    @property
    def committer(self) -> Committer:
        if self._committer is None:
            raise serr.NotLeading("named", "srv not elected")
        return self._committer

    @property
    def contents(self) -> ContentsCache:
        if self._contents is None:
            raise serr.NotLeading("named", "srv not elected")
        return self._contents

    def devices(self) -> list[Node]:
        """named's own files in the root."""
        # Both ask for what they show at each call: there is a committer only once this process leads.
        pstats = ReportNode(PSTATSD, _PSTATS_PATH, lambda: self.pathstats.to_json())
        return [FencesDir(lambda: self.committer.fences.table.newest(), self._check_fence, self._forget_fence), pstats]

    async def _check_fence(self, fence: Fence) -> None:
        await self.committer.commit(Plan(), [fence])

    async def _forget_fence(self, pathname: str) -> None:
        await self.committer.forget_fence(pathname)

    def new_ino(self) -> int:
        # At random, as no leader knows which ones earlier leaders gave out. 0 is the lock of renames, 1 the root.
        while (ino := secrets.randbits(62) + 2) in self.tree.inodes:
            continue
        return ino

    def check_size(self, name: str, size: int) -> None:
        if size > self.config.file_bytes_max:
            limit = self.config.file_bytes_max
            raise serr.Inval(name, f"{size} bytes: a file in named has at most {limit}")

    def check_bytes(self, name: str, more: int) -> None:
        """NoWrite if the realm has all contents that it may have."""
        if self.bytes_max and more > 0 and self.tree.contents_bytes + more > self.bytes_max:
            raise serr.NoWrite(name, f"the realm has {self.bytes_max} bytes in named, its most")

    def check_room(self, directory: Inode, name: str) -> None:
        """NoCreate if the directory, or the realm, has all entries that it may have."""
        if self.files_max and len(self.tree.inodes) > self.files_max:
            raise serr.NoCreate(name, f"the realm has {self.files_max} files in named, its most")
        limit = self.dir_entries_max
        if len(directory.children) >= limit:
            raise serr.NoCreate(name, f"a directory has at most {limit} entries")

    async def expire(self, dir_ino: int, name: str, revision: int) -> None:
        """etcd deleted a leased entry's key. If its lease ended, so does the entry here; if it was one of our own
        changes, that one has taken the name out, or given it anew, by the time we hold the name's lock."""
        async with self.locks.hold(exclusive=[(dir_ino, name)], shared=[(dir_ino, "")]):
            directory = self.tree.inodes.get(dir_ino)
            inode = directory.children.get(name) if directory is not None else None
            if inode is None or not inode.lease or inode.linked_at > revision:
                return
            self.tree.apply_remove(inode, revision, time.time())
            self.contents.forget(inode)
            self.watches.removed(dir_ino, name)

    # -- changes, prepared under the locks that they need

    def prepare_create(self, directory: Inode, name: str, data: bytes, how: OpenHow) -> Prepared:
        self.check_size(name, len(data))
        if name not in directory.children:
            self.check_room(directory, name)
            self.check_bytes(name, len(data))
        now = time.time()
        perm = how.perm | (DMTMP if how.lease else 0)
        plan = self.tree.plan_create(directory, name, self.new_ino(), perm, data, how.lease, now)
        elects = bool(how.lease and perm & DMDEVICE)
        pathname, entry_key = f"{pathname_of(directory)}/{name}", self.keys.entry(directory.ino, name, how.lease)

        def apply(revision: int) -> None:
            inode = self.tree.apply_create(directory, name, plan, revision, now)
            self.contents.keep(inode)
            self.pathstats.put(inode)
            if elects:
                # Before the watches: who hears of the file may use its fence at once.
                self.committer.fences.elected(pathname, entry_key, revision)
            self.watches.created(directory.ino, name)

        beside = self.committer.fences.election_ops(pathname, entry_key) if elects else None
        assert plan.added is not None
        return Prepared(plan, apply, plan.added, beside)

    def prepare_write(self, inode: Inode, whole: bytes, lease: int) -> Prepared:
        """The file's new contents; those of a removed file are nobody's to prepare."""
        self.check_size(inode.name, len(whole))
        self.check_bytes(inode.name, len(whole) - inode.length)
        now = time.time()

        def apply(revision: int) -> None:
            self.tree.apply_write(inode, whole, revision, now, lease)
            self.contents.keep(inode)
            self.pathstats.put(inode)

        return Prepared(self.tree.plan_write(inode, whole, now, lease), apply, inode)

    def prepare_remove(self, inode: Inode) -> Prepared:
        directory, name, now = self.tree.parent_of(inode), inode.name, time.time()

        def apply(revision: int) -> None:
            self.tree.apply_remove(inode, revision, now)
            self.contents.forget(inode)
            self.watches.removed(directory.ino, name)
            if inode.is_dir:
                self.watches.end(inode.ino)

        return Prepared(self.tree.plan_remove(inode, now), apply, inode)

    async def commit(self, prepared: Prepared, *fences: Fence) -> None:
        await self.committer.commit(prepared.plan, fences, prepared.apply, prepared.beside)

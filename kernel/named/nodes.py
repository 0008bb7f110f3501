"""named's tree as nodes: validated in memory, committed in etcd, then shown (D-1 to D-5).

Locks: an operation holds the directory shared and the entry exclusively, so that operations on different names run
side by side and share transactions; removing a directory holds it exclusively; a write holds the file exclusively;
renames of directories take one lock for all, so that no two of them can make a ring. An operation takes all its locks
at once (``LockTable`` orders them). Which ones it needs may change until it has them: then it begins again.
"""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Final

from kernel.named.pathstats import PathStats, pathname_of
from kernel.named.state import Inode, Plan, Tree, merged, page
from sigmaos_ray import serr
from sigmaos_ray.protsrv.devices import ReportNode
from sigmaos_ray.protsrv.fences import FencesDir
from sigmaos_ray.protsrv.locks import LockTable
from sigmaos_ray.protsrv.node import Caller, Dir, Node, OpenFile, OpenHow
from sigmaos_ray.sigmap import (
    DEV_NAMED,
    DMDEVICE,
    DMDIR,
    DMTMP,
    NO_FENCE,
    NO_LEASE,
    NO_OFFSET,
    OEXCL,
    OTRUNC,
    PSTATSD,
    Fence,
    Perm,
    Qid,
    Stat,
)

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from kernel.named.committer import Committer
    from kernel.named.contents import ContentsCache
    from kernel.named.keys import Keys
    from sigmaos_ray.config import Named
    from sigmaos_ray.protsrv.watch import WatchTable

Key = tuple[int, str]
CONTENTS: Final = "/contents"
"""Beside an object's number: the lock of its contents. No entry has such a name."""
_PSTATS_PATH: Final = 0x11


class NamedFs:
    """What all nodes share. ``lead`` gives it a tree and a way to commit; until then ``guard`` refuses requests."""

    def __init__(self, watches: WatchTable, config: Named, keys: Keys, dir_entries_max: int = 1_000_000) -> None:
        self.watches = watches
        self.dir_entries_max = dir_entries_max
        self.config = config
        self.keys = keys
        self.pathstats = PathStats()
        self.tree = Tree()
        self.locks: LockTable[Key] = LockTable()
        self._committer: Committer | None = None
        self._contents: ContentsCache | None = None

    def lead(self, tree: Tree, contents: ContentsCache, committer: Committer) -> None:
        self.tree = tree
        self._contents = contents
        self._committer = committer

    @property
    def committer(self) -> Committer:
        if self._committer is None:
            raise serr.Closed("named", "does not lead")
        return self._committer

    @property
    def contents(self) -> ContentsCache:
        if self._contents is None:
            raise serr.Closed("named", "does not lead")
        return self._contents

    @property
    def root(self) -> Dir:
        return NamedRoot(self)

    def devices(self) -> list[Node]:
        """named's own files in the root."""
        pstats = ReportNode(PSTATSD, _PSTATS_PATH, lambda: self.pathstats.to_json())
        return [FencesDir(lambda: self.committer.fences.table.newest(), self._check_fence, self._forget_fence), pstats]

    async def _check_fence(self, fence: Fence) -> None:
        await self.committer.commit(Plan(), fence)

    async def _forget_fence(self, pathname: str) -> None:
        await self.committer.forget_fence(pathname)

    def node(self, inode: Inode) -> NamedNode:
        return NamedDir(self, inode) if inode.is_dir else NamedFile(self, inode)

    def new_ino(self) -> int:
        while (ino := secrets.randbits(62) + 2) in self.tree.inodes:
            continue
        return ino

    def check_size(self, name: str, size: int) -> None:
        if size > self.config.file_bytes_max:
            limit = self.config.file_bytes_max
            raise serr.Inval(name, f"{size} bytes: a file in named has at most {limit}")

    def check_room(self, directory: Inode, name: str) -> None:
        """NoCreate if the directory has all entries that it may have."""
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


class NamedNode(Node):
    """One object."""

    def __init__(self, fs: NamedFs, inode: Inode) -> None:
        self.fs = fs
        self._inode = inode

    @property
    def inode(self) -> Inode:
        return self._inode

    @property
    def name(self) -> str:
        return self.inode.name

    @property
    def perm(self) -> Perm:
        return self.inode.perm

    def qid(self) -> Qid:
        inode = self.inode
        return Qid.of(inode.perm, inode.version, inode.ino)

    async def stat(self, caller: Caller) -> Stat:
        return _status(self.inode)

    async def remove(self, caller: Caller, fence: Fence = NO_FENCE) -> None:
        fs, inode = self.fs, self.inode
        directory = fs.tree.parent_of(inode)
        name = inode.name
        exclusive = [(directory.ino, name), (inode.ino, "" if inode.is_dir else CONTENTS)]
        async with fs.locks.hold(exclusive=exclusive, shared=[(directory.ino, "")]):
            if directory.children.get(name) is not inode:
                raise serr.NotFound(name)
            now = time.time()

            def apply(revision: int) -> None:
                fs.tree.apply_remove(inode, revision, now)
                fs.contents.forget(inode)
                fs.watches.removed(directory.ino, name)
                if inode.is_dir:
                    fs.watches.end(inode.ino)

            await fs.committer.commit(fs.tree.plan_remove(inode, now), fence, apply)

    async def rename(self, caller: Caller, new_dir: Dir, new_name: str, fence: Fence = NO_FENCE) -> None:
        if not isinstance(new_dir, NamedDir):
            raise serr.Inval(new_name, "a rename stays within one server")
        while not await self._rename_over(new_dir.inode.children.get(new_name), new_dir.inode, new_name, fence):
            continue

    async def _rename_over(self, victim: Inode | None, target: Inode, new_name: str, fence: Fence) -> bool:
        """Renames, replacing ``victim``; False if by the time the locks are held something else has that name."""
        fs, inode = self.fs, self.inode
        directory = fs.tree.parent_of(inode)
        name = inode.name
        exclusive: list[Key] = [(directory.ino, name), (target.ino, new_name)]
        if inode.is_dir:
            exclusive.append((0, CONTENTS))
        if victim is not None and victim is not inode:
            exclusive.append((victim.ino, "" if victim.is_dir else CONTENTS))
        async with fs.locks.hold(exclusive=exclusive, shared=[(directory.ino, ""), (target.ino, "")]):
            if directory.children.get(name) is not inode:
                raise serr.NotFound(name)
            if target.children.get(new_name) is not victim:
                return False
            if victim is inode:
                return True
            if victim is None and target is not directory:
                fs.check_room(target, new_name)
            now = time.time()

            def apply(revision: int) -> None:
                for dir_ino, event in fs.tree.apply_rename(inode, target, new_name, revision, now):
                    fs.watches.publish(dir_ino, event)
                if victim is not None:
                    fs.contents.forget(victim)
                    if victim.is_dir:
                        fs.watches.end(victim.ino)

            await fs.committer.commit(fs.tree.plan_rename(inode, target, new_name, now), fence, apply)
            return True


class NamedFile(NamedNode):
    """A file, symlink, endpoint file or device file."""

    async def open(self, caller: Caller, how: OpenHow) -> OpenFile:
        if how.mode & OTRUNC and self.inode.length:
            await self.write(b"", replace=True, fence=how.fence)
        return _OpenNamedFile(self)

    async def read(self) -> bytes:
        """The whole contents; waits only if they are not in memory."""
        inode = self.inode
        if inode.data is not None:
            self.fs.contents.used(inode)
            return inode.data
        self.fs.pathstats.got(inode)
        return await self.fs.contents.fetch(inode)

    async def write(self, data: bytes, offset: int = 0, *, replace: bool = False, fence: Fence = NO_FENCE) -> int:
        """Writes in place, or replaces the whole contents."""
        async with self.fs.locks.hold(exclusive=[(self.inode.ino, CONTENTS)]):
            return await self.write_held(data, offset, replace=replace, fence=fence)

    async def write_held(self, data: bytes, offset: int, *, replace: bool, fence: Fence, lease: int = NO_LEASE) -> int:
        """``write`` for a caller that holds the lock of the contents; for a new ``lease`` that of the entry too."""
        fs, inode = self.fs, self.inode
        if not replace:
            fs.check_size(inode.name, (inode.length if offset == NO_OFFSET else offset) + len(data))
        whole = data if replace else merged(await self.read(), offset, data)
        fs.check_size(inode.name, len(whole))
        now = time.time()
        if inode.parent is None:
            # Removed while open: nobody but open fids sees it any more, and nothing of it is stored.
            fs.committer.fences.admit(fence)
            fs.tree.apply_write(inode, whole, inode.version, now)
            return len(data)

        def apply(revision: int) -> None:
            fs.tree.apply_write(inode, whole, revision, now, lease)
            fs.contents.keep(inode)
            fs.pathstats.put(inode)

        await fs.committer.commit(fs.tree.plan_write(inode, whole, now, lease), fence, apply)
        return len(data)


class _OpenNamedFile(OpenFile):
    def __init__(self, node: NamedFile) -> None:
        self._node = node

    async def read(self, offset: int, count: int) -> bytes:
        data = await self._node.read()
        return data if not offset and len(data) <= count else data[offset : offset + count]

    async def write(self, offset: int, data: bytes, fence: Fence = NO_FENCE) -> int:
        return await self._node.write(data, offset, fence=fence)


class NamedDir(NamedNode, Dir):
    """A directory."""

    creates_whole = True

    async def open(self, caller: Caller, how: OpenHow) -> OpenFile:
        raise serr.IsDir(self.name)

    async def lookup(self, caller: Caller, name: str) -> Node:
        inode = self.inode.children.get(name)
        if inode is None:
            raise serr.NotFound(name)
        return self.fs.node(inode)

    async def entries(self, caller: Caller, after: str, limit: int) -> list[Stat]:
        return [_status(inode) for inode in page(self.inode, after, limit)]

    async def create(self, caller: Caller, name: str, how: OpenHow) -> tuple[Node, OpenFile | None]:
        async with self._hold(name):
            inode = await self._make(name, b"" if how.perm & DMDIR else how.data, how)
        node = self.fs.node(inode)
        return node, _OpenNamedFile(node) if isinstance(node, NamedFile) else None

    def _hold(self, name: str, file: Inode | None = None) -> AbstractAsyncContextManager[None]:
        """The locks of an entry, and of the contents of the file there if it is to be written."""
        ino = self.inode.ino
        exclusive = [(ino, name)] if file is None else [(ino, name), (file.ino, CONTENTS)]
        return self.fs.locks.hold(exclusive=exclusive, shared=[(ino, "")])

    async def _make(self, name: str, data: bytes, how: OpenHow) -> Inode:
        fs, directory = self.fs, self.inode
        fs.check_size(name, len(data))
        if name not in directory.children:
            fs.check_room(directory, name)
        now = time.time()
        perm = how.perm | (DMTMP if how.lease else 0)
        plan = fs.tree.plan_create(directory, name, fs.new_ino(), perm, data, how.lease, now)

        elects = bool(how.lease and perm & DMDEVICE)
        pathname, entry_key = f"{pathname_of(directory)}/{name}", fs.keys.entry(directory.ino, name, how.lease)

        def apply(revision: int) -> None:
            made = fs.tree.apply_create(directory, name, plan, revision, now)
            fs.contents.keep(made)
            fs.pathstats.put(made)
            if elects:
                fs.committer.fences.elected(pathname, entry_key, revision)
            fs.watches.created(directory.ino, name)

        beside = fs.committer.fences.election_ops(pathname, entry_key) if elects else None
        await fs.committer.commit(plan, how.fence, apply, beside)
        assert plan.added is not None
        return plan.added

    async def put(self, caller: Caller, name: str, data: bytes, how: OpenHow, offset: int = 0) -> int:
        if how.perm & DMDIR:
            raise serr.Inval(name, "a put makes a file")
        while True:
            inode = self.inode.children.get(name)
            async with self._hold(name, inode):
                if self.inode.children.get(name) is inode:
                    return await self._put_held(inode, name, data, how, offset)

    async def _put_held(self, inode: Inode | None, name: str, data: bytes, how: OpenHow, offset: int) -> int:
        if inode is None:
            if not how.mode & OTRUNC and offset != NO_OFFSET:
                self.fs.check_size(name, offset + len(data))
            whole = data if how.mode & OTRUNC else merged(b"", offset, data)
            await self._make(name, whole, how)
            return len(data)
        if how.mode & OEXCL:
            raise serr.Exists(name)
        node = self.fs.node(inode)
        if not isinstance(node, NamedFile):
            raise serr.IsDir(name)
        replace = bool(how.mode & OTRUNC)
        return await node.write_held(data, offset, replace=replace, fence=how.fence, lease=how.lease)


class NamedRoot(NamedDir):
    """The root: it stays the root when a newly elected leader loads the tree."""

    def __init__(self, fs: NamedFs) -> None:
        super().__init__(fs, fs.tree.root)

    @property
    def inode(self) -> Inode:
        return self.fs.tree.root


def _status(inode: Inode) -> Stat:
    length = len(inode.children) if inode.is_dir else inode.length
    return Stat(
        name=inode.name,
        qid=Qid.of(inode.perm, inode.version, inode.ino),
        mode=inode.perm,
        length=length,
        mtime=inode.mtime,
        atime=inode.mtime,
        dev=DEV_NAMED,
    )

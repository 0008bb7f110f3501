"""named's tree as nodes: validated in memory, committed in etcd, then shown (D-1 to D-5). ``fs`` tells which locks an
operation holds."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from kernel.named import transactions
from kernel.named.fs import CONTENTS, Key, NamedFs
from kernel.named.state import Inode, merged, page
from sigmaos_ray import serr
from sigmaos_ray.protsrv.node import (
    WHATEVER,
    ChangeHow,
    ChangeOutcome,
    Dir,
    EntryChange,
    Node,
    OpenFile,
    OpenHow,
    check_opening,
)
from sigmaos_ray.sigmap import (
    DEV_NAMED,
    DMDIR,
    DMSYMLINK,
    NO_FENCE,
    NO_LEASE,
    NO_OFFSET,
    OEXCL,
    OTRUNC,
    Fence,
    Perm,
    Qid,
    Stat,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractAsyncContextManager

    from sigmaos_ray.rpcsrv import Caller


def node_of(fs: NamedFs, inode: Inode) -> NamedNode:
    return NamedDir(fs, inode) if inode.is_dir else NamedFile(fs, inode)


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

    async def truncate(self, size: int, fence: Fence = NO_FENCE) -> None:
        """Cuts the contents, or fills them up with zeros."""
        self.fs.check_size(self.inode.name, size)
        async with self.fs.locks.hold(exclusive=[(self.inode.ino, CONTENTS)]):
            whole = (await self.read())[:size].ljust(size, b"\0")
            await self.write_held(whole, 0, replace=True, fence=fence)

    async def write_held(self, data: bytes, offset: int, *, replace: bool, fence: Fence, lease: int = NO_LEASE) -> int:
        """``write`` for a caller that holds the lock of the contents; for a new ``lease`` that of the entry too."""
        fs, inode = self.fs, self.inode
        if not replace:
            fs.check_size(inode.name, (inode.length if offset == NO_OFFSET else offset) + len(data))
        whole = data if replace else merged(await self.read(), offset, data)
        if inode.parent is None:
            # Removed while open: nobody but open fids sees it any more, and nothing of it is stored.
            fs.check_size(inode.name, len(whole))
            fs.committer.fences.admit(fence)
            fs.tree.apply_write(inode, whole, inode.version, time.time())
            return len(data)
        await fs.commit(fs.prepare_write(inode, whole, lease), fence)
        return len(data)


class _OpenNamedFile(OpenFile):
    def __init__(self, node: NamedFile) -> None:
        self._node = node

    async def read(self, offset: int, count: int) -> bytes:
        data = await self._node.read()
        return data if not offset and len(data) <= count else data[offset : offset + count]

    async def write(self, offset: int, data: bytes, fence: Fence = NO_FENCE) -> int:
        return await self._node.write(data, offset, fence=fence)

    async def truncate(self, size: int, fence: Fence = NO_FENCE) -> None:
        await self._node.truncate(size, fence)


class NamedDir(NamedNode, Dir):
    """A directory."""

    short_is_last = True
    creates_whole = True

    @property
    def stays(self) -> bool:
        return self.fs.tree.stays(self.inode)

    async def open(self, caller: Caller, how: OpenHow) -> OpenFile:
        raise serr.IsDir(self.name)

    async def lookup(self, caller: Caller, name: str) -> Node:
        inode = self.inode.children.get(name)
        if inode is None:
            raise serr.NotFound(name)
        return node_of(self.fs, inode)

    async def get(self, caller: Caller, names: Sequence[str], offset: int, count: int) -> bytes | None:
        inode = self.inode
        for name in names:
            child = inode.children.get(name)
            if child is None:
                return None
            inode = child
        data = inode.data
        # All but the usual case is protsrv's: links, contents that are elsewhere, files that go on.
        if inode.perm & (DMDIR | DMSYMLINK) or data is None or len(data) - offset >= count:
            return None
        self.fs.contents.used(inode)
        return data[offset:]

    async def entries(self, caller: Caller, after: str, limit: int) -> list[Stat]:
        return [_status(inode) for inode in page(self.inode, after, limit)]

    async def create(self, caller: Caller, name: str, how: OpenHow) -> tuple[Node, OpenFile | None]:
        async with self._hold(name):
            inode = await self._make(name, b"" if how.perm & DMDIR else how.data, how)
        node = node_of(self.fs, inode)
        return node, _OpenNamedFile(node) if isinstance(node, NamedFile) else None

    async def open_entry(self, caller: Caller, name: str, how: OpenHow) -> tuple[Node, OpenFile | None]:
        while True:
            inode = self.inode.children.get(name)
            if inode is None and not how.makes:
                raise serr.NotFound(name)
            if inode is not None:
                node = node_of(self.fs, inode)
                check_opening(node, name, how)
                if not isinstance(node, NamedFile):
                    return node, None
                if not (how.mode & OTRUNC and inode.length):
                    return node, _OpenNamedFile(node)
            async with self._hold(name, inode):
                if self.inode.children.get(name) is not inode:
                    continue
                return await self._open_held(inode, name, how)

    async def _open_held(self, inode: Inode | None, name: str, how: OpenHow) -> tuple[Node, OpenFile]:
        """Makes the file, or empties it. The locks of both are held."""
        node = NamedFile(self.fs, await self._make(name, b"", how) if inode is None else inode)
        if inode is not None:
            await node.write_held(b"", 0, replace=True, fence=how.fence)
        return node, _OpenNamedFile(node)

    async def remove_entry(self, caller: Caller, name: str, how: ChangeHow = WHATEVER) -> None:
        fs, directory = self.fs, self.inode
        while True:
            inode = self._entry(name, how)
            exclusive = [(directory.ino, name), (inode.ino, "" if inode.is_dir else CONTENTS)]
            async with fs.locks.hold(exclusive=exclusive, shared=[(directory.ino, "")]):
                # Which locks are needed the entry said before they were waited for: another one needs others.
                if directory.children.get(name) is inode:
                    self._entry(name, how)
                    await fs.commit(fs.prepare_remove(inode), *how.fences)
                    return

    def _entry(self, name: str, how: ChangeHow) -> Inode:
        inode = self.inode.children.get(name)
        if inode is None:
            raise serr.NotFound(name)
        how.check(name, node_of(self.fs, inode).qid())
        if not how.knows:
            self.fs.tree.check_known(inode)
        return inode

    async def rename_entry(
        self, caller: Caller, name: str, new_dir: Dir, new_name: str, how: ChangeHow = WHATEVER
    ) -> None:
        if not isinstance(new_dir, NamedDir):
            raise serr.Inval(new_name, "a rename stays within one server")
        directory, target = self.inode, new_dir.inode
        while True:
            inode, victim = self._entry(name, how), target.children.get(new_name)
            exclusive: list[Key] = [(directory.ino, name), (target.ino, new_name)]
            # The lock of all renames of directories. No object has the number 0.
            if inode.is_dir:
                exclusive.append((0, CONTENTS))
            # As for its removal: nothing may be made in it, or written to it, before it goes.
            if victim is not None and victim is not inode:
                exclusive.append((victim.ino, "" if victim.is_dir else CONTENTS))
            async with self.fs.locks.hold(exclusive=exclusive, shared=[(directory.ino, ""), (target.ino, "")]):
                # By now other objects may have the names: then they are what is renamed, and replaced, or not.
                if directory.children.get(name) is inode and target.children.get(new_name) is victim:
                    self._entry(name, how)
                    await self._rename_held(inode, victim, target, new_name, how.fences)
                    return

    async def _rename_held(
        self, inode: Inode, victim: Inode | None, target: Inode, new_name: str, fences: Sequence[Fence]
    ) -> None:
        fs = self.fs
        # Onto itself: nothing changes, no version either.
        if victim is inode:
            return
        if victim is None and target is not self.inode:
            fs.check_room(target, new_name)
        now = time.time()

        def apply(revision: int) -> None:
            for dir_ino, event in fs.tree.apply_rename(inode, target, new_name, revision, now):
                fs.watches.publish(dir_ino, event)
            if victim is not None:
                fs.contents.forget(victim)
                if victim.is_dir:
                    fs.watches.end(victim.ino)

        await fs.committer.commit(fs.tree.plan_rename(inode, target, new_name, now), fences, apply)

    def _hold(self, name: str, file: Inode | None = None) -> AbstractAsyncContextManager[None]:
        """The locks of an entry, and of the contents of the file there if it is to be written."""
        ino = self.inode.ino
        exclusive = [(ino, name)] if file is None else [(ino, name), (file.ino, CONTENTS)]
        return self.fs.locks.hold(exclusive=exclusive, shared=[(ino, "")])

    async def _make(self, name: str, data: bytes, how: OpenHow) -> Inode:
        prepared = self.fs.prepare_create(self.inode, name, data, how)
        await self.fs.commit(prepared, how.fence)
        return prepared.inode

    async def put(self, caller: Caller, name: str, data: bytes, how: OpenHow, offset: int = 0) -> int:
        if how.perm & DMDIR:
            raise serr.Inval(name, "a put makes a file")
        while True:
            # What is there says which locks are needed. If that has changed once they are held, it begins again.
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
        node = node_of(self.fs, inode)
        if how.follows and node.is_link:
            raise serr.NotDir(name)
        if how.mode & OEXCL:
            raise serr.Exists(name)
        if not isinstance(node, NamedFile):
            raise serr.IsDir(name)
        replace = bool(how.mode & OTRUNC)
        return await node.write_held(data, offset, replace=replace, fence=how.fence, lease=how.lease)

    async def transact(
        self, caller: Caller, changes: Sequence[EntryChange], fences: Sequence[Fence] = ()
    ) -> list[ChangeOutcome]:
        wanted = []
        for change in changes:
            if not isinstance(change.directory, NamedDir):
                raise serr.Inval(change.name, "a transaction is about the files of named alone")
            wanted.append(transactions.Wanted(change, change.directory.inode))
        return await transactions.transact(self.fs, wanted, fences)


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

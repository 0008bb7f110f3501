"""The host's files as nodes.

Calls on names are short and run on the loop, without a wait between looking, doing, and telling the watches: each is
one moment, as in memfs. Only contents, long listings and syncs go to threads, contents under a lock per file.

A node stands for an entry while somebody holds it, and follows renames made through this server. Changes that the
host makes beside it are seen at the next look, but not told to watches, and move no directory's version.

Leased files and pipes are held for as long as they are there (see ``ties``).
"""

from __future__ import annotations

import contextlib
import stat
import time
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

import msgspec

from kernel.ux import creating, hostfile, puts
from kernel.ux.fencefile import FenceFile
from kernel.ux.hostdir import not_shown
from kernel.ux.listing import Listing, Listings
from kernel.ux.state import HostStat, Versions, perm_of, qid_path
from kernel.ux.ties import Ties
from kernel.ux.uxfile import OpenFiles
from kernel.ux.workshop import HIDDEN
from sigmaos_ray import serr
from sigmaos_ray.protsrv.fences import FenceTable
from sigmaos_ray.protsrv.leases import LeaseKeeper
from sigmaos_ray.protsrv.locks import LockTable
from sigmaos_ray.protsrv.node import Dir, Node, OpenFile, OpenHow
from sigmaos_ray.protsrv.pipe import Pipe
from sigmaos_ray.sigmap import (
    DEV_UX,
    DMDIR,
    DMNAMEDPIPE,
    DMTMP,
    NO_FENCE,
    NO_LEASE,
    OACCESS_MASK,
    OREAD,
    OTRUNC,
    Fence,
    Perm,
    Qid,
    Stat,
    path,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kernel.ux.hostdir import HostDir
    from kernel.ux.store import UxStore
    from kernel.ux.workshop import Prepared
    from sigmaos_ray.protsrv.watch import WatchTable
    from sigmaos_ray.rpcsrv import Caller


class UxFs:
    """One tree of the host. Used from one loop; the store belongs to the caller. Hand ``fences`` and ``leases`` to the
    ``FileServer`` of ``root``, which shows the ones and keeps the others."""

    def __init__(self, store: UxStore, watches: WatchTable) -> None:
        self.store = store
        self.watches = watches
        self._fence_file = FenceFile(store.workshop.hidden)
        self.fences = FenceTable(self._fence_file.load(), self._save_fences)
        self.ties = Ties(store.workshop.passing)
        self.leases = LeaseKeeper(self.ties.end)
        self.versions = Versions()
        self.listings = Listings()
        self.locks: LockTable[tuple[int, int]] = LockTable()
        """Contents of files, by inode."""
        with store.directory([]) as root:
            host = root.status()
        self.root_dev = host.dev
        self.root = UxDir(self, "", host, None)

    def check(self, fence: Fence, lease: int = NO_LEASE) -> None:
        """Before a change: NotFound for a lease that is over; Stale for a fence that another has overtaken. A newer
        fence is on the disk once this returns."""
        self.leases.check(lease)
        self.fences.check(fence)
        if self._fence_file.is_behind:
            self._save_fences()

    def _save_fences(self) -> None:
        self._fence_file.save(self.fences.newest())

    def is_shown(self, host: HostStat) -> bool:
        """False for the pipes of others, of which the server knows nothing. May be asked from any thread."""
        return not host.is_pipe or self.ties.is_own_pipe(host)

    def check_shown(self, name: str, host: HostStat) -> None:
        """Perm for what is not shown."""
        if not self.is_shown(host):
            raise not_shown(name)

    async def settle(self, *directories: UxDir) -> None:
        """After a change of entries: if the server is to outlive a loss of power, blocks until they are on the disk."""
        if self.store.syncs:
            for directory in directories:
                with contextlib.suppress(serr.NotFound):  # removed by now: then nothing of it is to last
                    await self.store.sync_dir(directory.way())

    def stat_of(self, name: str, host: HostStat, version: int, *, is_leased: bool = False) -> Stat:
        perm = perm_of(host.mode) | (DMTMP if is_leased else 0)
        return Stat(
            name=name,
            qid=Qid.of(perm, version, qid_path(host.inode, self.root_dev)),
            mode=perm,
            length=host.length,
            mtime=host.mtime_ns / 1e9,
            atime=host.atime_ns / 1e9,
            uid=str(host.uid),
            gid=str(host.gid),
            dev=DEV_UX,
        )


class UxNode(Node):
    """What files and directories share."""

    def __init__(self, fs: UxFs, name: str, host: HostStat, parent: UxDir | None) -> None:
        self.fs = fs
        self._name = name
        self.host = host
        self.parent = parent
        """None once it is removed, and for the root."""
        self.version = fs.versions.first(host)
        self.lease = NO_LEASE
        self.mark = ""
        """Of a node that does not outlive the server; see ``passing``."""

    @property
    def name(self) -> str:
        return self._name

    @name.setter
    def name(self, name: str) -> None:
        self._name = name

    @property
    def perm(self) -> Perm:
        return perm_of(self.host.mode) | (DMTMP if self.lease else 0)

    def qid(self) -> Qid:
        return Qid.of(self.perm, self.version, qid_path(self.host.inode, self.fs.root_dev))

    def way(self) -> list[str]:
        """The names from the root to here. NotFound if this, or what it is in, was removed."""
        names: list[str] = []
        here: UxNode = self
        while here.parent is not None:
            names.append(here.name)
            here = here.parent
        if here is not self.fs.root:
            raise serr.NotFound(here.name)
        names.reverse()
        return names

    def open_parent(self) -> HostDir:
        return self.fs.store.directory(self.way()[:-1])

    def see(self, host: HostStat) -> None:
        """Takes note of what the host says now."""
        self.host = host

    def touch(self) -> None:
        """Moves the version on after a change."""
        self.version = self.fs.versions.moved(self.host.inode, self.version, time.time_ns())

    async def stat(self, caller: Caller) -> Stat:
        self.see(self._look())
        return self.fs.stat_of(self._name, self.host, self.version, is_leased=bool(self.lease))

    def _look(self) -> HostStat:
        with self.open_parent() as directory:
            if self.parent is None:
                return directory.status()
            host = directory.look(self._name)
        if stat.S_IFMT(host.mode) != stat.S_IFMT(self.host.mode) or (self.mark and host.inode != self.host.inode):
            raise serr.NotFound(self._name, "replaced on the host")
        return host

    def gone(self) -> None:
        """The entry is no more."""
        self.fs.ties.forget(self)

    async def remove(self, caller: Caller, fence: Fence = NO_FENCE) -> None:
        parent = self._parent_for_change()
        self.fs.check(fence)
        with self.open_parent() as directory:
            directory.remove(self._name, is_dir=self.is_dir)
        parent.taken_out(self._name, self)
        await self.fs.settle(parent)

    async def rename(self, caller: Caller, new_dir: Dir, new_name: str, fence: Fence = NO_FENCE) -> None:
        parent = self._parent_for_change()
        if not isinstance(new_dir, UxDir) or new_dir.fs is not self.fs:
            raise serr.Inval(new_name, "a rename stays within one server")
        new_dir.check_name(new_name)
        if self.is_dir and new_dir.is_below(self):
            raise serr.Inval(new_name, "a directory cannot move into itself")
        self.fs.check(fence)
        if new_dir is parent and new_name == self._name:
            return
        with self.open_parent() as source, new_dir.open_dir() as target:
            victim = target.peek(new_name)
            if victim is not None:
                self.fs.check_shown(new_name, victim)
            self.fs.ties.moves(self, self.way(), [*new_dir.way(), new_name])
            source.rename(self._name, target, new_name)
            if victim is not None and victim.inode == self.host.inode:  # two names of one file: Unix leaves both
                source.remove(self._name, is_dir=False)
        if victim is not None:
            new_dir.taken_out(new_name, new_dir.live(new_name))
        parent.taken_out(self._name, self, keep=True)
        self._name = new_name
        self.parent = new_dir
        new_dir.put_in(self)
        self.fs.ties.moved()
        await self.fs.settle(*{parent, new_dir})

    def _parent_for_change(self) -> UxDir:
        if self.parent is None:
            if self is self.fs.root:
                raise serr.Inval("/", "the root cannot be removed or renamed")
            raise serr.NotFound(self._name)
        return self.parent


class UxFile(UxNode):
    """A regular file; symlinks and endpoint files of SigmaOS too."""

    def __init__(self, fs: UxFs, name: str, host: HostStat, parent: UxDir | None) -> None:
        super().__init__(fs, name, host, parent)
        self.files = OpenFiles(self)

    def see(self, host: HostStat) -> None:
        super().see(host)
        self.version = max(self.version, host.ctime_ns)

    def _look(self) -> HostStat:
        handle = self.files.handle
        return super()._look() if handle is None else hostfile.status(handle.fd, self._name)

    async def open(self, caller: Caller, how: OpenHow) -> OpenFile:
        writes = how.mode & OACCESS_MASK != OREAD or bool(how.mode & OTRUNC)
        file = self.files.open(writes=writes)
        if how.mode & OTRUNC:
            try:
                await file.truncate(how.fence)
            except BaseException:  # a cancellation too: what was opened is closed, and it goes on
                await file.close()
                raise
        return file

    def open_fd(self, *, writable: bool) -> int:
        with self.open_parent() as directory:
            return directory.open_file(self._name, writable=writable)

    def replaced(self, prepared: Prepared) -> None:
        """The file has new contents, in a new inode; who has it open goes over to that."""
        self.see(hostfile.status(prepared.fd, self._name))
        self.touch()
        self.files.replace(prepared)


class UxPipe(UxNode):
    """A pipe of this server (R-12): a FIFO on the host, for its name; what it holds is in memory."""

    def __init__(self, fs: UxFs, name: str, host: HostStat, parent: UxDir | None) -> None:
        super().__init__(fs, name, host, parent)
        self._pipe = Pipe(name)

    async def stat(self, caller: Caller) -> Stat:
        return msgspec.structs.replace(await super().stat(caller), length=self._pipe.length)

    async def open(self, caller: Caller, how: OpenHow) -> OpenFile:
        if self.parent is None:
            raise serr.NotFound(self._name)
        return await self._pipe.open(how.mode, self.fs.check)

    def gone(self) -> None:
        super().gone()
        self._pipe.remove()


class UxDir(UxNode, Dir):
    """A directory, and the nodes of its entries that somebody holds."""

    creates_whole = True

    def __init__(self, fs: UxFs, name: str, host: HostStat, parent: UxDir | None) -> None:
        super().__init__(fs, name, host, parent)
        self._live: WeakValueDictionary[str, UxNode] = WeakValueDictionary()

    def open_dir(self) -> HostDir:
        """This directory on the host; the caller closes it."""
        return self.fs.store.directory(self.way())

    def is_below(self, other: UxNode) -> bool:
        """True if this is ``other`` or within it."""
        here: UxNode | None = self
        while here is not None and here is not other:
            here = here.parent
        return here is other

    def check_name(self, name: str) -> None:
        """Perm for the entry that the server keeps for itself."""
        if self.parent is None and name == HIDDEN:
            raise serr.Perm(name, "kept by the server for itself")

    def live(self, name: str) -> UxNode | None:
        """The node of an entry, if somebody holds it."""
        return self._live.get(name)

    def node_of(self, name: str, host: HostStat) -> UxNode:
        """The node of an entry that the host shows."""
        node = self._live.get(name)
        if node is not None and node.host.inode == host.inode and node.is_dir == host.is_dir:
            node.see(host)
            return node
        if node is not None:  # replaced on the host: who holds the old one holds nothing
            self.lose(name, node)
        kind = UxDir if host.is_dir else UxPipe if host.is_pipe else UxFile
        made = self._live[name] = kind(self.fs, name, host, self)
        return made

    def file_of(self, name: str, host: HostStat) -> UxFile:
        """Like ``node_of``, of an entry that should be a file."""
        node = self.node_of(name, host)
        if not isinstance(node, UxFile):
            raise serr.IsDir(name) if host.is_dir else not_shown(name)
        return node

    def put_in(self, node: UxNode) -> None:
        """An entry has come: moves the version and tells the watches."""
        self._live[node.name] = node
        self.touch()
        self.fs.watches.created(self.qid().path, node.name)

    def taken_out(self, name: str, node: UxNode | None, *, keep: bool = False) -> None:
        """An entry has gone: moves the version and tells the watches. Unless it is kept for another place, its node
        stands for nothing from now on."""
        self.touch()
        self.fs.watches.removed(self.qid().path, name)
        if node is not None:
            self.lose(name, node, keep=keep)

    def lose(self, name: str, node: UxNode, *, keep: bool = False) -> None:
        """A node no longer stands for the entry; unless it is kept for another place, for nothing."""
        if self._live.get(name) is node:
            del self._live[name]
        if not keep:
            node.parent = None
            node.gone()

    def gone(self) -> None:
        self.fs.watches.end(self.qid().path)

    async def open(self, caller: Caller, how: OpenHow) -> OpenFile:
        raise serr.IsDir(self._name)

    async def lookup(self, caller: Caller, name: str) -> Node:
        with self.open_dir() as directory:
            return self._entry(directory, name)

    def _entry(self, directory: HostDir, name: str) -> UxNode:
        if self.parent is None and name == HIDDEN:
            raise serr.NotFound(name)
        host = directory.look(name)
        self.fs.check_shown(name, host)
        return self.node_of(name, host)

    async def walk(self, caller: Caller, names: Sequence[str]) -> list[Node]:
        way: list[Node] = []
        here: UxNode = self
        with self.open_dir() as directory:
            for name in names:
                if path.is_union(name) or here.is_link:
                    break
                if not isinstance(here, UxDir):
                    raise serr.NotDir(here.name)
                try:
                    if here is not self:
                        directory.enter(here.name)
                    here = here._entry(directory, name)
                except serr.NotFound:
                    if not way:
                        raise
                    break
                way.append(here)
        return way

    async def entries(self, caller: Caller, after: str, limit: int) -> list[Stat]:
        listings = self.fs.listings
        listing = listings.going_on(self.host.inode) if after else None
        number = listings.next_number()
        names = listing.names if listing else None
        page = await self.fs.store.page(self.way(), names, after, limit, self.fs.is_shown)
        listings.read_from(self.host.inode, listing or Listing(number, page.names), is_end=not page.entries)
        return [self._stat_of_entry(name, host) for name, host in page.entries]

    def _stat_of_entry(self, name: str, host: HostStat) -> Stat:
        node = self._live.get(name)
        version = self.fs.versions.first(host)
        if node is None or node.host.inode != host.inode:
            return self.fs.stat_of(name, host, version)
        version = node.version if node.is_dir else max(version, node.version)
        return self.fs.stat_of(name, host, version, is_leased=bool(node.lease))

    async def create(self, caller: Caller, name: str, how: OpenHow) -> tuple[Node, OpenFile | None]:
        self.check_name(name)
        host_mode = creating.host_mode_of(name, how)
        self.fs.check(how.fence, how.lease)
        made, fd = await creating.create(self, name, how, host_mode)
        file = made.files.adopt(fd) if isinstance(made, UxFile) and fd is not None else None
        try:
            await self.fs.settle(self)
        except BaseException:  # a cancellation too: what was begun is undone, and it goes on
            if file is not None:
                await file.abort()
            raise
        return made, file

    async def put(self, caller: Caller, name: str, data: bytes, how: OpenHow, offset: int = 0) -> int:
        """What is new or replaced appears whole; else ``data`` goes into the file in place."""
        self.check_name(name)
        host_mode = creating.host_mode_of(name, how)
        if how.perm & (DMDIR | DMNAMEDPIPE):
            raise serr.Inval(name, "a put makes a file")
        while True:
            if puts.is_in_place(self, name, how.mode):
                return await puts.put_in_place(self, name, data, how=how, offset=offset)
            if await puts.put_whole(self, name, data, host_mode=host_mode, how=how, offset=offset):
                await self.fs.settle(self)
                return len(data)

    def made(self, name: str, host: HostStat) -> UxNode:
        """An entry was made on the host; returns its node."""
        node = self.node_of(name, host)
        self.put_in(node)
        return node

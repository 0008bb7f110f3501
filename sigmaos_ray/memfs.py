"""The file system in memory (R-11): directories, files, symlinks, endpoint files; lost with the process.

It is also the reference of the Node contract: nothing waits, pipes excepted, so every operation is atomic as it
stands. Leased files go when their lease ends; ``MemFs.leases`` keeps it (L-2, L-6).
"""

from __future__ import annotations

import time
from bisect import bisect_left, bisect_right, insort
from typing import TYPE_CHECKING, Final

from sigmaos_ray import config as configuration
from sigmaos_ray import debug, serr
from sigmaos_ray.protsrv.fences import FenceTable
from sigmaos_ray.protsrv.leases import LeaseKeeper
from sigmaos_ray.protsrv.node import (
    WHATEVER,
    ChangeHow,
    Dir,
    Node,
    OpenFile,
    OpenHow,
    check_no_server,
    check_opening,
    opens_apart,
)
from sigmaos_ray.protsrv.pipe import Pipe
from sigmaos_ray.sigmap import (
    DEV_MEMFS,
    DMDEVICE,
    DMDIR,
    DMMOUNT,
    DMNAMEDPIPE,
    DMSYMLINK,
    DMTMP,
    NO_FENCE,
    NO_LEASE,
    NO_OFFSET,
    OEXCL,
    OTRUNC,
    PERM_MASK,
    Fence,
    Perm,
    Qid,
    Stat,
)

if TYPE_CHECKING:
    from sigmaos_ray.config import Store
    from sigmaos_ray.protsrv.watch import WatchTable
    from sigmaos_ray.rpcsrv import Caller

_log = debug.selector("MEMFS")

# Without it empty files would count nothing, and a client could fill the server's memory with them.
_NODE_BYTES: Final = 1024
"""What an object counts beside its contents."""

_KINDS: Final = DMDIR | DMSYMLINK | DMMOUNT | DMDEVICE | DMNAMEDPIPE | DMTMP
ROOT_PATH: Final = 1


class MemFs:
    """One tree in memory. Used from one loop; ``watches`` is the server's table. Hand ``fences`` and ``leases`` to the
    ``FileServer`` of ``root``, which shows the ones and keeps the others. Nothing outlives the object."""

    def __init__(self, watches: WatchTable, *, dev: int = DEV_MEMFS, limits: Store | None = None) -> None:
        self.watches = watches
        self.limits = limits or configuration.current().store
        self.size_bytes = 0
        """Of all objects, those included that were removed while they are open."""
        self.fences = FenceTable(limits=self.limits)
        self.leases = LeaseKeeper(self.end_lease)
        self.dev = dev
        self._last_path = ROOT_PATH
        self._leased: dict[int, set[_MemNode]] = {}
        self.root: MemDir = MemDir(self, "", DMDIR | 0o777, ROOT_PATH, None)

    def next_path(self) -> int:
        """A qid path that no object has had: clients tell objects apart by it."""
        self._last_path += 1
        return self._last_path

    def check_room(self, name: str, size: int, more: int) -> None:
        """Before an object of ``size`` bytes then takes ``more`` than now. Inval for a file that would be too large,
        Error if all together would be."""
        if size > self.limits.memfs_file_bytes_max:
            raise serr.Inval(name, f"{size} bytes: a file in memory has at most {self.limits.memfs_file_bytes_max}")
        # What does not grow passes: of a server that is full, files can still be emptied.
        if more > 0 and self.size_bytes + more > self.limits.memfs_bytes_max:
            limit = self.limits.memfs_bytes_max
            raise serr.Error(name, f"no room: the files of this server have at most {limit} bytes")

    def make(self, name: str, perm: Perm, parent: MemDir, lease: int, size: int) -> _MemNode:
        """A new object that is not yet in its directory, to have ``size`` bytes. NotFound for a lease that is over."""
        kind = _kind_of(name, perm)
        self.leases.check(lease)
        self.check_room(name, size, size + _NODE_BYTES)
        self.size_bytes += _NODE_BYTES
        node = kind(self, name, perm | (DMTMP if lease else 0), self.next_path(), parent)
        # Last: what fails before leaves nothing behind on the lease, and until the object is in its directory nothing
        # fails.
        self.hang_on(node, lease)
        return node

    def hang_on(self, node: _MemNode, lease: int) -> None:
        """Ties an object to a lease, instead of the one it hangs on."""
        self.forget_lease(node)
        node.lease = lease
        if lease != NO_LEASE:
            self._leased.setdefault(lease, set()).add(node)

    def forget_lease(self, node: _MemNode) -> None:
        """Unties an object from its lease, if it hangs on one: it was removed, or is put under another one."""
        leased = self._leased.get(node.lease)
        if leased is not None:
            leased.discard(node)
            if not leased:
                del self._leased[node.lease]

    def end_lease(self, lease: int) -> None:
        """Removes the files of a lease, full directories excepted; watchers hear of it."""
        # In an order that does not depend on hashes: what watchers hear is the same in each run.
        for node in sorted(self._leased.pop(lease, set()), key=lambda node: node.name):
            if node.parent is not None and not (isinstance(node, MemDir) and node.names):
                node.parent.take_out(node)


def _kind_of(name: str, perm: Perm) -> type[_MemNode]:
    if perm & ~(_KINDS | PERM_MASK) or (perm & DMNAMEDPIPE and perm & (DMDIR | DMSYMLINK | DMDEVICE)):
        raise serr.Inval(name, f"no such kind of file: perm {perm:#x}")
    if perm & DMDIR:
        return MemDir
    return MemPipe if perm & DMNAMEDPIPE else MemFile


class _MemNode(Node):
    """What files and directories share."""

    def __init__(self, fs: MemFs, name: str, perm: Perm, path: int, parent: MemDir | None) -> None:
        self.fs = fs
        self._name = name
        self._perm = perm
        self._path = path
        self.parent = parent
        """None once it is removed, and for the root."""
        self.version = 0
        self.mtime = self.atime = time.time()
        self.lease = NO_LEASE

    @property
    def name(self) -> str:
        return self._name

    @name.setter
    def name(self, name: str) -> None:
        self._name = name

    @property
    def perm(self) -> Perm:
        return self._perm

    @property
    def path(self) -> int:
        return self._path

    def qid(self) -> Qid:
        return Qid.of(self._perm, self.version, self._path)

    def length(self) -> int:
        """What a stat shows: bytes, or entries of a directory."""
        return 0

    def status(self) -> Stat:
        """The object's stat, without a wait."""
        return Stat(
            name=self._name,
            qid=self.qid(),
            mode=self._perm,
            length=self.length(),
            mtime=self.mtime,
            atime=self.atime,
            dev=self.fs.dev,
        )

    async def stat(self, caller: Caller) -> Stat:
        return self.status()

    def touch(self) -> None:
        """The object changed now: watches are told next, without a wait in between (see ``protsrv.node``)."""
        self.version += 1
        self.mtime = time.time()

    def gone(self) -> None:
        """It was taken out of the tree, for good."""
        self.fs.size_bytes -= _NODE_BYTES


def _check_replaceable(victim: _MemNode, by: _MemNode) -> None:
    """A file takes a file's place, a directory that of an empty one (P-11)."""
    if isinstance(victim, MemDir):
        if not isinstance(by, MemDir):
            raise serr.IsDir(victim.name)
        if victim.names:
            raise serr.NotEmpty(victim.name)
    elif isinstance(by, MemDir):
        raise serr.NotDir(victim.name)


class MemFile(_MemNode):
    """A file, symlink, endpoint file or device file: bytes. One that is removed stays for those who have it open, and
    counts as long."""

    def __init__(self, fs: MemFs, name: str, perm: Perm, path: int, parent: MemDir | None) -> None:
        super().__init__(fs, name, perm, path, parent)
        self.data = bytearray()
        self._open_count = 0
        self._is_gone = False

    def length(self) -> int:
        return len(self.data)

    async def open(self, caller: Caller, how: OpenHow) -> OpenFile:
        if self._is_gone and not self._open_count:  # with its contents
            raise serr.NotFound(self._name)
        if how.mode & OTRUNC:
            self.fs.fences.check(how.fence)
            self.write(0, b"", replace=True)
        return self.opened()

    def opened(self) -> OpenFile:
        """One more opening; whoever gets it closes it."""
        self._open_count += 1
        return _OpenMemFile(self)

    def close_one(self) -> None:
        """One of the openings was closed."""
        self._open_count -= 1
        self._drop_if_unused()

    def gone(self) -> None:
        super().gone()
        self._is_gone = True
        self._drop_if_unused()

    def _drop_if_unused(self) -> None:
        if self._is_gone and not self._open_count:
            self.fs.size_bytes -= len(self.data)
            self.data = bytearray()

    def write(self, offset: int, data: bytes, *, replace: bool = False) -> int:
        """Writes in place, or replaces the whole contents; fills a gap with zeros. Inval or Error if there is no room,
        and then nothing is written."""
        size_bytes = 0 if replace else len(self.data)
        start = size_bytes if offset == NO_OFFSET else offset
        end = max(size_bytes, start + len(data))
        self.fs.check_room(self._name, end, end - len(self.data))
        self.fs.size_bytes += end - len(self.data)
        if replace:
            self.data.clear()
        if start > size_bytes:
            self.data.extend(bytes(start - size_bytes))
        self.data[start : start + len(data)] = data
        self.touch()
        return len(data)

    def set_length(self, size: int) -> None:
        """Cuts the contents, or fills them up with zeros. Inval or Error if there is no room."""
        more = size - len(self.data)
        self.fs.check_room(self._name, size, more)
        self.fs.size_bytes += more
        if more < 0:
            del self.data[size:]
        else:
            self.data.extend(bytes(more))
        self.touch()


_SLICED_BYTES: Final = 4096
"""To make a view takes longer than to copy fewer bytes once more."""


class _OpenMemFile(OpenFile):
    """One opening of a file. Closing it twice is harmless."""

    def __init__(self, node: MemFile) -> None:
        self._node = node
        self._is_closed = False

    async def read(self, offset: int, count: int) -> bytes:
        data = self._node.data
        if len(data) < _SLICED_BYTES:
            return bytes(data[offset : offset + count])
        with memoryview(data) as view:
            return bytes(view[offset : offset + count])

    async def write(self, offset: int, data: bytes, fence: Fence = NO_FENCE) -> int:
        self._node.fs.fences.check(fence)
        return self._node.write(offset, data)

    async def truncate(self, size: int, fence: Fence = NO_FENCE) -> None:
        self._node.fs.fences.check(fence)
        self._node.set_length(size)

    async def close(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            self._node.close_one()


class MemPipe(_MemNode):
    """A pipe. What it holds is lost with the last of those who have it open."""

    def __init__(self, fs: MemFs, name: str, perm: Perm, path: int, parent: MemDir | None) -> None:
        super().__init__(fs, name, perm, path, parent)
        self._pipe = Pipe(name)

    def length(self) -> int:
        return self._pipe.length

    async def open(self, caller: Caller, how: OpenHow) -> OpenFile:
        return await self._pipe.open(how.mode, self.fs.fences.check)

    def gone(self) -> None:
        super().gone()
        self._pipe.remove()


class MemDir(_MemNode, Dir):
    """A directory: nodes by name, and the names in order."""

    short_is_last = True
    creates_whole = True

    def __init__(self, fs: MemFs, name: str, perm: Perm, path: int, parent: MemDir | None) -> None:
        super().__init__(fs, name, perm, path, parent)
        self.nodes: dict[str, _MemNode] = {}
        self.names: list[str] = []

    def length(self) -> int:
        return len(self.names)

    def is_below(self, other: MemDir) -> bool:
        """True if this is ``other`` or within it."""
        here: MemDir | None = self
        while here is not None and here is not other:
            here = here.parent
        return here is other

    def check_alive(self) -> None:
        """NotFound if the directory was removed: a fid may still hold it, and nothing is made in it any more."""
        if self.parent is None and self is not self.fs.root:
            raise serr.NotFound(self._name, "the directory was removed")

    def check_room(self, name: str) -> None:
        """NoCreate if the directory has all entries that it may have."""
        limit = self.fs.limits.dir_entries_max
        if len(self.names) >= limit:
            raise serr.NoCreate(name, f"a directory has at most {limit} entries")

    def put_in(self, node: _MemNode) -> None:
        """Adds an entry, under its own name, which is free; watches are told."""
        self.nodes[node.name] = node
        insort(self.names, node.name)
        node.parent = self
        if _log.on:
            _log(f"{self._name}/{node.name}: {node.path:x}")
        # Tree, version and event without a wait in between: who lists and then sets a watch misses nothing (W-3).
        self.touch()
        self.fs.watches.created(self.path, node.name)

    def take_out(self, node: _MemNode, *, keep: bool = False) -> None:
        """Takes an entry out; watches are told. Unless ``keep``, for another place, it is gone for good: its lease, its
        room, and watches of it."""
        del self.nodes[node.name]
        del self.names[bisect_left(self.names, node.name)]
        node.parent = None
        if _log.on:
            _log(f"{self._name}/{node.name}: out")
        self.touch()
        self.fs.watches.removed(self.path, node.name)
        if not keep:
            self.fs.forget_lease(node)
            node.gone()

    def gone(self) -> None:
        super().gone()
        self.fs.watches.end(self.path)

    async def open(self, caller: Caller, how: OpenHow) -> OpenFile:
        raise serr.IsDir(self._name)

    async def lookup(self, caller: Caller, name: str) -> Node:
        node = self.nodes.get(name)
        if node is None:
            raise serr.NotFound(name)
        return node

    async def open_entry(self, caller: Caller, name: str, how: OpenHow) -> tuple[Node, OpenFile | None]:
        node = self.nodes.get(name)
        if node is None:
            if not how.makes:
                raise serr.NotFound(name)
            return await self.create(caller, name, how)
        check_opening(node, name, how)
        # Of a file that is opened nothing waits.
        return node, None if opens_apart(node) else await node.open(caller, how)

    def _entry(self, name: str, how: ChangeHow) -> _MemNode:
        node = self.nodes.get(name)
        if node is None:
            raise serr.NotFound(name)
        how.check(name, node.qid())
        return node

    async def remove_entry(self, caller: Caller, name: str, how: ChangeHow = WHATEVER) -> None:
        node = self._entry(name, how)
        self.fs.fences.check(*how.fences)
        if isinstance(node, MemDir) and node.names:
            raise serr.NotEmpty(name)
        self.take_out(node)

    async def rename_entry(
        self, caller: Caller, name: str, new_dir: Dir, new_name: str, how: ChangeHow = WHATEVER
    ) -> None:
        node = self._entry(name, how)
        if not isinstance(new_dir, MemDir) or new_dir.fs is not self.fs:
            raise serr.Inval(new_name, "a rename stays within one server")
        self.fs.fences.check(*how.fences)
        new_dir.check_alive()
        # Below itself it would be a ring that no walk from the root leads to, and that nobody could remove.
        if isinstance(node, MemDir) and new_dir.is_below(node):
            raise serr.Inval(new_name, "a directory cannot move into itself")
        victim = new_dir.nodes.get(new_name)
        if victim is node:
            return
        # All checks come first: from the first entry that is taken out on nothing may fail.
        if victim is None:
            # Within one directory the old entry makes room for the new one.
            if new_dir is not self:
                new_dir.check_room(new_name)
        else:
            check_no_server(new_name, victim.qid())
            _check_replaceable(victim, node)
            new_dir.take_out(victim)
        self.take_out(node, keep=True)
        node.name = new_name
        new_dir.put_in(node)

    async def entries(self, caller: Caller, after: str, limit: int) -> list[Stat]:
        # By name, not by place: entries that come or go between two pages shift places, but no names (P-12).
        start = bisect_right(self.names, after) if after else 0
        return [self.nodes[name].status() for name in self.names[start : start + limit]]

    async def create(self, caller: Caller, name: str, how: OpenHow) -> tuple[Node, OpenFile | None]:
        self.check_alive()
        if name in self.nodes:
            raise serr.Exists(name)
        node = self._make(name, how)
        return node, node.opened() if isinstance(node, MemFile) else None

    def _make(self, name: str, how: OpenHow) -> _MemNode:
        """Makes an entry of a name that is free, with its contents. Raises before the tree has changed."""
        _kind_of(name, how.perm)
        self.check_room(name)
        self.fs.check_room(name, len(how.data), len(how.data) + _NODE_BYTES)
        self.fs.fences.check(how.fence)
        node = self.fs.make(name, how.perm, self, how.lease, len(how.data))
        # The contents before the entry: nobody sees the file without them.
        if isinstance(node, MemFile):
            node.data += how.data
            self.fs.size_bytes += len(how.data)
        self.put_in(node)
        return node

    async def put(self, caller: Caller, name: str, data: bytes, how: OpenHow, offset: int = 0) -> int:
        node = self.nodes.get(name)
        if node is None:
            if how.perm & (DMDIR | DMNAMEDPIPE):
                raise serr.Inval(name, "a put makes a file")
            self.check_alive()
            # Room for what is written below, too: a put that does not fit must not leave an empty file behind.
            size_bytes = len(data) + (0 if offset == NO_OFFSET else offset)
            self.fs.check_room(name, size_bytes, size_bytes + _NODE_BYTES)
            node = self._make(name, how)
        elif how.follows and node.is_link:
            raise serr.NotDir(name)
        elif how.mode & OEXCL:
            raise serr.Exists(name)
        elif isinstance(node, MemDir):
            raise serr.IsDir(name)
        elif not isinstance(node, MemFile):
            raise serr.Inval(name, "a pipe is opened, and written then")
        else:
            self.fs.leases.check(how.lease)
            self.fs.fences.check(how.fence)
        assert isinstance(node, MemFile)
        count = node.write(offset, data, replace=bool(how.mode & OTRUNC))
        # After the write, which may have no room: then nothing is changed. A put without a lease leaves a leased file
        # on the lease that it has.
        if how.lease not in (NO_LEASE, node.lease):
            self.fs.hang_on(node, how.lease)
        return count

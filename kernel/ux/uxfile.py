"""Open files of ux."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.ux import hostfile, ties
from kernel.ux.hostfile import Handle
from sigmaos_ray import serr
from sigmaos_ray.protsrv.node import OpenFile
from sigmaos_ray.sigmap import NO_FENCE, NO_LEASE, Fence

if TYPE_CHECKING:
    from kernel.ux.nodes import UxFile
    from kernel.ux.workshop import Prepared


class OpenFiles:
    """All that have one file open, through one descriptor: where the file goes, as in a put that replaces it, they
    go along. The descriptor is there while somebody has the file open; it writes once somebody opened it to write."""

    def __init__(self, node: UxFile) -> None:
        self._node = node
        self.handle: Handle | None = None
        self._count = 0

    def open(self, *, writes: bool) -> OpenUxFile:
        if self.handle is None or (writes and not self.handle.writable):
            self._swap(Handle(self._node.open_fd(writable=writes), writable=writes))
        return self._opened()

    def adopt(self, fd: int) -> OpenUxFile:
        """Opens a file that was just made, by the descriptor that made it."""
        self._swap(Handle(fd, writable=True))
        return self._opened()

    def replace(self, prepared: Prepared) -> None:
        """The file has another inode now."""
        if self.handle is not None:
            self._swap(Handle(prepared.take_fd(), writable=True))

    def _opened(self) -> OpenUxFile:
        self._count += 1
        assert self.handle is not None
        return OpenUxFile(self._node)

    def closed(self) -> None:
        self._count -= 1
        if not self._count:
            self._swap(None)

    def _swap(self, handle: Handle | None) -> None:
        old, self.handle = self.handle, handle
        if old is not None:
            old.release()


class OpenUxFile(OpenFile):
    """One opening of a file."""

    def __init__(self, node: UxFile) -> None:
        self._node = node
        self._is_closed = False
        self._is_dirty = False

    def _hold(self) -> Handle:
        handle = self._node.files.handle
        if handle is None or self._is_closed:
            raise serr.Closed(self._node.name)
        return handle.hold()

    async def read(self, offset: int, count: int) -> bytes:
        node = self._node
        handle = self._hold()
        try:
            if node.fs.locks.is_readable(handle.inode):
                data = node.fs.store.read_now(handle.fd, offset, count, node.name)
                if data is not None:
                    return data
            async with node.fs.locks.hold(shared=[handle.inode]):
                return await node.fs.store.read(handle.fd, offset, count, node.name)
        finally:
            handle.release()

    async def write(self, offset: int, data: bytes, fence: Fence = NO_FENCE, lease: int = NO_LEASE) -> int:
        """``lease``: the file hangs on it from now on, unless there is none."""
        node = self._node
        handle = self._hold()
        try:
            async with node.fs.locks.hold(exclusive=[handle.inode]):
                node.fs.check(fence, lease)
                with ties.leased(node, lease):
                    count = await node.fs.store.write(handle.fd, offset, data, node.name)
                node.touch()
                self._is_dirty = True
                return count
        finally:
            handle.release()

    async def truncate(self, fence: Fence = NO_FENCE) -> None:
        """Empties the file."""
        handle = self._hold()
        try:
            async with self._node.fs.locks.hold(exclusive=[handle.inode]):
                self._node.fs.check(fence)
                hostfile.truncate(handle.fd, self._node.name)
                self._node.touch()
                self._is_dirty = True
        finally:
            handle.release()

    async def close(self) -> None:
        """Makes durable what was written: the server's end loses nothing; for the machine's, see ``ux_fsync``."""
        if self._is_closed:
            return
        try:
            if self._is_dirty:
                await self._sync()
        finally:
            await self.abort()

    async def _sync(self) -> None:
        store = self._node.fs.store
        if store.syncs:
            handle = self._hold()
            try:
                await store.sync_file(handle.fd, self._node.name)
            finally:
                handle.release()

    async def abort(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            self._node.files.closed()

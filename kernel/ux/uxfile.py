"""Open files of ux."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.ux import hostfile
from kernel.ux.hostfile import Handle
from sigmaos_ray import serr
from sigmaos_ray.protsrv.node import OpenFile
from sigmaos_ray.sigmap import NO_FENCE, Fence

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

    def _hold(self) -> Handle:
        handle = self._node.files.handle
        if handle is None or self._is_closed:
            raise serr.Closed(self._node.name)
        return handle.hold()

    async def read(self, offset: int, count: int) -> bytes:
        node = self._node
        handle = self._hold()
        try:
            async with node.fs.locks.hold(shared=[handle.inode]):
                return await node.fs.store.read(handle.fd, offset, count, node.name)
        finally:
            handle.release()

    async def write(self, offset: int, data: bytes, fence: Fence = NO_FENCE) -> int:
        node = self._node
        handle = self._hold()
        try:
            async with node.fs.locks.hold(exclusive=[handle.inode]):
                node.fs.fences.check(fence)
                count = await node.fs.store.write(handle.fd, offset, data, node.name)
                node.touch()
                return count
        finally:
            handle.release()

    async def truncate(self, fence: Fence = NO_FENCE) -> None:
        """Empties the file."""
        handle = self._hold()
        try:
            async with self._node.fs.locks.hold(exclusive=[handle.inode]):
                self._node.fs.fences.check(fence)
                hostfile.truncate(handle.fd, self._node.name)
                self._node.touch()
        finally:
            handle.release()

    async def close(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            self._node.files.closed()

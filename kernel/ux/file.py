"""Files as nodes, and their openings. Symlinks and endpoint files of SigmaOS are files here, too."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from kernel.ux import hostfile
from kernel.ux.hostfile import Handle
from kernel.ux.node import UxNode
from sigmaos_ray import serr
from sigmaos_ray.protsrv.node import OpenFile
from sigmaos_ray.sigmap import NO_FENCE, NO_LEASE, OACCESS_MASK, OREAD, OTRUNC, Fence

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kernel.ux.hostdir import HostDir
    from kernel.ux.node import Parent
    from kernel.ux.shared import UxShared
    from kernel.ux.state import HostStat
    from kernel.ux.workshop import Workpiece
    from sigmaos_ray.protsrv.node import OpenHow
    from sigmaos_ray.rpcsrv import Caller


class UxFile(UxNode):
    """A regular file of the host."""

    def __init__(self, shared: UxShared, name: str, host: HostStat, parent: Parent | None) -> None:
        super().__init__(shared, name, host, parent)
        self.files = OpenFiles(self)

    def see(self, host: HostStat) -> None:
        super().see(host)
        # The host's programs move no version, but each of their writes moves the inode's time. So does the loss of a
        # name: of a file that is gone, whoever has it open, the time says nothing.
        if self.parent is not None:
            self.version = max(self.version, host.ctime_ns)

    def _look(self) -> HostStat:
        # An open file is asked itself: its name may be gone by now, or stand for another one.
        handle = self.files.handle
        return super()._look() if handle is None else hostfile.status(handle.fd, self._name)

    async def open(self, caller: Caller, how: OpenHow) -> OpenFile:
        file = self._open(self._open_by_name, how)
        await self.truncate_opened(file, how)
        return file

    def open_in(self, directory: HostDir, how: OpenHow) -> OpenUxFile:
        """Opened in the directory that it is in, still untruncated."""
        return self._open(lambda writes: directory.open_file(self._name, writable=writes), how)

    def _open(self, open_fd: Callable[[bool], int], how: OpenHow) -> OpenUxFile:
        return self.files.open(open_fd, writes=how.mode & OACCESS_MASK != OREAD or bool(how.mode & OTRUNC))

    def _open_by_name(self, writes: bool) -> int:
        with self.open_parent() as directory:
            return directory.open_file(self._name, writable=writes)

    async def truncate_opened(self, file: OpenUxFile, how: OpenHow) -> None:
        """What an opening with OTRUNC does next. If it fails the file is closed."""
        if how.mode & OTRUNC:
            try:
                await file.truncate(0, how.fence)
            except BaseException:  # cancelled as well: nobody else would close it
                await file.close()
                raise

    def replaced(self, piece: Workpiece) -> None:
        """The file has new contents, in a new inode; who has it open goes over to that."""
        self.see(hostfile.status(piece.fd, self._name))
        self.touch()
        self.files.replace(piece)

    @contextlib.contextmanager
    def leased(self, lease: int) -> Iterator[None]:
        """A block that changes the file, which hangs on ``lease`` from then on, unless there is none or the block
        fails."""
        if lease == NO_LEASE:
            yield
            return
        before = self.lease
        # Tied first: if the server is killed within the block, the next one must know that the file is to go.
        self.shared.ties.tie_existing(self, lease)
        try:
            yield
        except BaseException:  # whatever ended the block: the tie is taken back
            try:
                self.shared.leases.check(before)
            except serr.NotFound:  # it ended meanwhile, and did not find the file among its own
                self.vanish()
            else:
                self.shared.ties.untie(self, before)
            raise


class OpenFiles:
    """All that have one file open, through one descriptor: where the file goes, as in a put that replaces it, they
    go along. The descriptor is there while somebody has the file open; it writes once somebody opened it to write."""

    def __init__(self, node: UxFile) -> None:
        self._node = node
        self.handle: Handle | None = None
        self._count = 0

    def open(self, open_fd: Callable[[bool], int], *, writes: bool) -> OpenUxFile:
        """``open_fd``: gives a descriptor of the file, writable or not, if there is none yet that will do."""
        # Not writable before somebody wants that: a file that may only be read could not be opened at all.
        if self.handle is None or (writes and not self.handle.writable):
            self._swap(Handle(open_fd(writes), writable=writes))
        return self._opened()

    def adopt(self, fd: int) -> OpenUxFile:
        """Opens a file that was just made, by the descriptor that made it."""
        self._swap(Handle(fd, writable=True))
        return self._opened()

    def replace(self, piece: Workpiece) -> None:
        """The file has another inode now."""
        if self.handle is not None:
            # The workpiece's own descriptor: to open the file again by its name could find another one.
            self._swap(Handle(piece.take_fd(), writable=True))

    def _opened(self) -> OpenUxFile:
        self._count += 1
        return OpenUxFile(self._node)

    def closed(self) -> None:
        """One opening is over; the last one closes the descriptor."""
        self._count -= 1
        if not self._count:
            self._swap(None)

    def _swap(self, handle: Handle | None) -> None:
        # Reads and writes under way hold the old one, and finish on it.
        old, self.handle = self.handle, handle
        if old is not None:
            old.release()


class OpenUxFile(OpenFile):
    """One opening of a file."""

    def __init__(self, node: UxFile) -> None:
        self._node = node
        self._is_closed = False
        self._is_dirty = False

    @contextlib.contextmanager
    def _held(self) -> Iterator[Handle]:
        """The file's descriptor, which stays open for the block, whoever closes or replaces the file meanwhile."""
        handle = self._node.files.handle
        if handle is None or self._is_closed:
            raise serr.Closed(self._node.name)
        handle.hold()
        try:
            yield handle
        finally:
            handle.release()

    async def read(self, offset: int, count: int) -> bytes:
        node, shared = self._node, self._node.shared
        with self._held() as handle:
            # Mostly nobody writes, and the bytes are in memory: no task, no thread, and no lock is needed.
            if shared.locks.is_readable(handle.inode):
                data = shared.store.read_now(handle.fd, offset, count, node.name)
                if data is not None:
                    return data
            async with shared.locks.hold(shared=[handle.inode]):
                return await shared.store.read(handle.fd, offset, count, node.name)

    async def write(self, offset: int, data: bytes, fence: Fence = NO_FENCE, lease: int = NO_LEASE) -> int:
        """``lease``: the file hangs on it from now on, unless there is none."""
        node, shared = self._node, self._node.shared
        with self._held() as handle:
            async with shared.locks.hold(exclusive=[handle.inode]):
                # Under the lock: whoever waited for it may have been overtaken meanwhile.
                shared.check(fence, lease=lease)
                with node.leased(lease):
                    count = await shared.store.write(handle.fd, offset, data, node.name)
                node.touch()
                self._is_dirty = True
                return count

    async def truncate(self, size: int, fence: Fence = NO_FENCE) -> None:
        node, shared = self._node, self._node.shared
        with self._held() as handle:
            async with shared.locks.hold(exclusive=[handle.inode]):
                shared.check(fence)
                # On the loop, as it is short; under the lock, as a read in a thread may be under way.
                hostfile.truncate(handle.fd, size, node.name)
                node.touch()
                self._is_dirty = True

    async def close(self) -> None:
        """Makes durable what was written: the server's end loses nothing; for the machine's, see ``ux_fsync``."""
        if self._is_closed:
            return
        try:
            # Only of files that were written through this opening: others have closes of their own.
            if self._is_dirty and self._node.shared.store.syncs:
                with self._held() as handle:
                    await self._node.shared.store.sync_file(handle.fd, self._node.name)
        finally:
            await self.abort()

    async def abort(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            self._node.files.closed()

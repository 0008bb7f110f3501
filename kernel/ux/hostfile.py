"""Contents of files of the host: descriptors, and reading and writing through them."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING, Final

from kernel.ux.hostdir import host_stat, translated
from sigmaos_ray import serr
from sigmaos_ray.sigmap import NO_OFFSET

if TYPE_CHECKING:
    from kernel.ux.state import HostStat

_END_MAX: Final = (1 << 63) - 1
"""Offsets that the system takes at most."""


class Handle:
    """A descriptor that all who have the file open share; closed when the last one lets go. For one loop; a thread
    may use ``fd`` while the coroutine that started it holds the handle."""

    __slots__ = ("_users", "fd", "inode", "writable")

    def __init__(self, fd: int, *, writable: bool) -> None:
        """Takes the descriptor over, held once."""
        status = os.fstat(fd)
        self.fd = fd
        self.inode = (status.st_dev, status.st_ino)
        self.writable = writable
        self._users = 1

    def hold(self) -> None:
        """``release`` must follow."""
        self._users += 1

    def release(self) -> None:
        """The last one closes the descriptor."""
        self._users -= 1
        if not self._users:
            os.close(self.fd)


def status(fd: int, name: str) -> HostStat:
    with translated(name):
        return host_stat(os.fstat(fd))


def length(fd: int, name: str) -> int:
    with translated(name):
        return os.fstat(fd).st_size


def read_present(fd: int, offset: int, count: int) -> bytes | None:
    """``count`` bytes if all are in memory: this waits for no disk. None if not, or if the host cannot tell."""
    # What it ends in becomes bytes without a copy.
    file = io.BytesIO()
    file.seek(count - 1)
    file.write(b"\0")
    with file.getbuffer() as buffer:
        try:
            # RWF_NOWAIT: what is not in the kernel's cache fails with EAGAIN, or comes short, instead of holding up the
            # loop.
            done = os.preadv(fd, [buffer], offset, os.RWF_NOWAIT)
        except OSError:  # it waits, or some file systems cannot tell; the read that waits says what else is wrong
            return None
    return file.getvalue() if done == count else None


def read(fd: int, offset: int, count: int, name: str) -> bytes:
    """At most ``count`` bytes; empty at and past the end."""
    if offset > _END_MAX - count:
        return b""
    with translated(name):
        return os.pread(fd, count, offset)


def write(fd: int, offset: int, data: bytes, name: str) -> int:
    """Writes all of ``data``, at the end for NO_OFFSET. If it fails, the file is no longer than it was."""
    if offset != NO_OFFSET and offset > _END_MAX - len(data):
        raise serr.Inval(name, f"no file is so long: offset {offset}")
    with translated(name):
        size = os.fstat(fd).st_size
        try:
            _write_all(fd, offset, data)
        except OSError:
            # A disk that is full takes some of it: who is told that nothing was written must find nothing.
            if os.fstat(fd).st_size > size:
                os.ftruncate(fd, size)
            raise
    return len(data)


def _write_all(fd: int, offset: int, data: bytes) -> None:
    """RWF_APPEND finds the end in the kernel, so that appends of several processes do not overwrite each other."""
    rest = memoryview(data)
    while rest:
        if offset == NO_OFFSET:
            # Not by a descriptor with O_APPEND: on Linux ``pwrite`` to one appends, whatever offset is given.
            done = os.pwritev(fd, [rest], 0, os.RWF_APPEND)
        else:
            done = os.pwrite(fd, rest, offset)
            offset += done
        rest = rest[done:]


def sync(fd: int, name: str) -> None:
    """Blocks until the contents are on the disk."""
    with translated(name):
        os.fsync(fd)


def truncate(fd: int, size: int, name: str) -> None:
    """Cuts the file to ``size`` bytes, or makes it so long: a hole reads as zeros."""
    if size > _END_MAX:
        raise serr.Inval(name, f"no file is so long: {size} bytes")
    with translated(name):
        os.ftruncate(fd, size)

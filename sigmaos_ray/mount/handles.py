"""Files that the kernel has open."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Protocol

from sigmaos_ray import serr
from sigmaos_ray.sigmap import OAPPEND, OEXCL, ORDWR, OREAD, OTRUNC, OWRITE, Mode

if TYPE_CHECKING:
    from sigmaos_ray.blocking import Writer
    from sigmaos_ray.sigmaclnt import SigmaClnt


class KernelHandle(Protocol):
    """One opening. Used by any number of threads; ``close`` comes last, once."""

    def read(self, size: int, offset: int) -> bytes: ...

    def write(self, data: bytes, offset: int) -> int: ...

    def truncate(self, size: int) -> None: ...

    def flush(self) -> None:
        """One of the program's descriptors is closed: the last moment at which it hears of an error."""

    def close(self) -> None: ...


def mode_of(flags: int) -> Mode:
    """How a file is opened that the kernel wants by these flags."""
    access = {os.O_RDONLY: OREAD, os.O_WRONLY: OWRITE, os.O_RDWR: ORDWR}[flags & os.O_ACCMODE]
    return (
        access
        | (OTRUNC if flags & os.O_TRUNC and access != OREAD else 0)
        | (OAPPEND if flags & os.O_APPEND and access != OREAD else 0)
        | (OEXCL if flags & os.O_EXCL and flags & os.O_CREAT else 0)
    )


class FileHandle:
    """A descriptor of the client's, of a server that reads and writes at any offset."""

    def __init__(self, sc: SigmaClnt, fd: int) -> None:
        self._sc = sc
        self._fd = fd
        self._lock = threading.Lock()
        """The descriptor has one offset, which writes set."""

    def read(self, size: int, offset: int) -> bytes:
        return self._sc.pread(self._fd, size, offset)

    def write(self, data: bytes, offset: int) -> int:
        with self._lock:
            self._sc.seek(self._fd, offset)
            return self._sc.write(self._fd, data)

    def truncate(self, size: int) -> None:
        self._sc.truncate_fd(self._fd, size)

    def flush(self) -> None:
        """Servers have what was written already."""

    def close(self) -> None:
        self._sc.close_fd(self._fd)


class ObjectHandle:
    """An object of S3 that is being written: from its beginning on, and seen once the program closes it."""

    def __init__(self, sc: SigmaClnt, pathname: str, flags: int) -> None:
        if flags & os.O_APPEND:
            raise serr.NotSupported(pathname, "S3 appends nothing")
        self._sc = sc
        self._pathname = pathname
        self._mode = OWRITE | (mode_of(flags) & OEXCL)
        self._lock = threading.Lock()
        self._writer: Writer | None = None
        self.size = 0
        """In bytes, of what was written."""
        self._is_published = False

    def read(self, size: int, offset: int) -> bytes:
        raise serr.NotSupported(self._pathname, "what is being written to S3 cannot be read")

    def write(self, data: bytes, offset: int) -> int:
        with self._lock:
            if offset != self.size or self._is_published:
                raise serr.NotSupported(self._pathname, "S3 is written from the beginning on, without gaps")
            if self._writer is None:
                self._writer = self._sc.create_writer(self._pathname, mode=self._mode)
            self._writer.write(data)
            self.size += len(data)
            return len(data)

    def truncate(self, size: int) -> None:
        if size != self.size:
            raise serr.NotSupported(self._pathname, "S3 cuts nothing")

    def flush(self) -> None:
        # A shell closes a copy of the descriptor before it begins to write: that is not the end.
        with self._lock:
            if self.size:
                self._publish()

    def close(self) -> None:
        with self._lock:
            self._publish()

    def _publish(self) -> None:
        if self._is_published:
            return
        self._is_published = True
        if self._writer is None:
            self._sc.put_file(self._pathname, b"", mode=self._mode)
        else:
            self._writer.close()


class Handles:
    """By the numbers that the kernel has."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0
        self._handles: dict[int, KernelHandle] = {}
        self._written: dict[str, ObjectHandle] = {}

    def add(self, path: str, handle: KernelHandle) -> int:
        with self._lock:
            self._last += 1
            self._handles[self._last] = handle
            if isinstance(handle, ObjectHandle):
                self._written[path] = handle
            return self._last

    def get(self, number: int) -> KernelHandle:
        return self._handles[number]

    def being_written(self, path: str) -> ObjectHandle | None:
        """What S3 does not show yet, and the program that writes it sees."""
        return self._written.get(path)

    def take(self, path: str, number: int) -> KernelHandle:
        """The handle, which is forgotten."""
        with self._lock:
            handle = self._handles.pop(number)
            if self._written.get(path) is handle:
                del self._written[path]
            return handle

    def close_all(self) -> None:
        """Ends what programs still had open when the directory was unmounted."""
        with self._lock:
            handles = list(self._handles.values())
            self._handles.clear()
            self._written.clear()
        for handle in handles:
            try:
                handle.close()
            except serr.SigmaError:  # whoever would have to be told is gone
                continue

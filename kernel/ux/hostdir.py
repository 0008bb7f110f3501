"""One directory of the host, held by descriptor, and its entries: every call of the OS on names stands here.

An entry is named by one component relative to the descriptor and links are never followed, so that no name leads out
of the tree, whatever is swapped in meanwhile. Errors of the OS become ``serr`` here, by one table.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from itertools import islice
from typing import TYPE_CHECKING, Final, Self

from kernel.ux.state import HostStat, is_shown
from sigmaos_ray import serr

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import TracebackType

# ELOOP is what O_NOFOLLOW says of a link of the host: that is refused, not missing. EXDEV: between file systems.
ERRORS: Final[Mapping[int, type[serr.SigmaError]]] = {
    errno.ENOENT: serr.NotFound,
    errno.EEXIST: serr.Exists,
    errno.ENOTDIR: serr.NotDir,
    errno.EISDIR: serr.IsDir,
    errno.ENOTEMPTY: serr.NotEmpty,
    errno.EACCES: serr.Perm,
    errno.EPERM: serr.Perm,
    errno.EROFS: serr.Perm,
    errno.ELOOP: serr.Perm,
    errno.ENAMETOOLONG: serr.Inval,
    errno.EINVAL: serr.Inval,
    errno.EFBIG: serr.Inval,
    errno.EXDEV: serr.NotSupported,
}
"""Any other errno is ``Error`` with the system's words."""

_NO_LINKS: Final = os.O_NOFOLLOW | os.O_CLOEXEC
# O_PATH asks for no right to read: a directory that can only be passed through is on many ways.
_DIRECTORY: Final = os.O_PATH | os.O_DIRECTORY | _NO_LINKS
# A program of the host may put a FIFO or a terminal where a file was: to open it must neither block nor have effects.
_FILE: Final = _NO_LINKS | os.O_NONBLOCK | os.O_NOCTTY
_NO_HARD_LINKS: Final = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK})
"""What a file system says that has none, or no more of them for this file."""


def _as_text(names: list[str]) -> Iterator[str]:
    """Those of the host's names, as Python reads them, that are UTF-8."""
    for name in names:
        if name.isascii():
            yield name
            continue
        with contextlib.suppress(UnicodeError):
            yield os.fsencode(name).decode()


def from_os(error: OSError, name: str) -> serr.SigmaError:
    """What an error of the OS is in SigmaOS."""
    text = os.strerror(error.errno) if error.errno else str(error)
    return ERRORS.get(error.errno or 0, serr.Error)(name, text)


class translated:
    """A block in which an error of the OS becomes one of SigmaOS, about ``name``. (A class, as it stands around every
    call: a generator would cost as much as some of them.)"""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if isinstance(error, OSError) and not isinstance(error, serr.SigmaError):
            raise from_os(error, self._name) from error


def not_shown(name: str) -> serr.Perm:
    """The error of an entry of the host that the namespace does not show."""
    return serr.Perm(name, "neither a file nor a directory on the host; its links are not followed")


def host_stat(status: os.stat_result) -> HostStat:
    """The part of the system's answer that ux shows or compares."""
    return HostStat(
        dev=status.st_dev,
        ino=status.st_ino,
        mode=status.st_mode,
        length=status.st_size,
        mtime_ns=status.st_mtime_ns,
        atime_ns=status.st_atime_ns,
        ctime_ns=status.st_ctime_ns,
        uid=status.st_uid,
        gid=status.st_gid,
    )


class HostDir:
    """An open directory. Owns its descriptor: a context manager. Names are text, UTF-8 on the host."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    @classmethod
    def open_root(cls, pathname: str) -> Self:
        """The directory at a configured place; here alone links are followed."""
        with translated(pathname):
            return cls(os.open(pathname, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))

    def clone(self) -> HostDir:
        """The same directory by a descriptor of its own; the caller closes it."""
        with translated(""):
            return HostDir(os.dup(self._fd))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """May be repeated."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def enter(self, name: str) -> None:
        """Goes down into the directory ``name``. NotDir for anything else, a link of the host included."""
        with translated(name):
            below = os.open(name.encode(), _DIRECTORY, dir_fd=self._fd)
        # Only now: if the name is no directory, this one stays as it was.
        self.close()
        self._fd = below

    # -- looking

    def status(self) -> HostStat:
        """Of the directory itself."""
        with translated(""):
            return host_stat(os.fstat(self._fd))

    @property
    def is_removed(self) -> bool:
        """True once the directory is in no other any more."""
        # Directories have no hard links, but some file systems do not count theirs: only 0 means something.
        return os.fstat(self._fd).st_nlink == 0

    def look(self, name: str) -> HostStat:
        """NotFound if there is nothing; Perm for what the namespace does not show."""
        with translated(name):
            status = os.stat(name.encode(), dir_fd=self._fd, follow_symlinks=False)
        if not is_shown(status.st_mode):
            raise not_shown(name)
        return host_stat(status)

    def peek(self, name: str) -> HostStat | None:
        """Like ``look``; None if there is nothing."""
        try:
            return self.look(name)
        except serr.NotFound:
            return None

    def peek_any(self, name: str) -> HostStat | None:
        """Like ``peek``, of whatever it is."""
        try:
            with translated(name):
                return host_stat(os.stat(name.encode(), dir_fd=self._fd, follow_symlinks=False))
        except serr.NotFound:
            return None

    def names(self) -> list[str]:
        """All entries in order of name; those whose names are not UTF-8 have no pathname, and are left out."""
        fd = self._open_to_read()
        try:
            with translated(""):
                return sorted(_as_text(os.listdir(fd)))
        finally:
            os.close(fd)

    def few_names(self, count_max: int) -> list[str] | None:
        """Like ``names``; None, after little work, if the directory has more entries."""
        fd = self._open_to_read()
        try:
            with translated(""), os.scandir(fd) as entries:
                # One more than allowed, to tell that there are more; of a million names no more are read.
                names = [entry.name for entry in islice(entries, count_max + 1)]
        finally:
            os.close(fd)
        return None if len(names) > count_max else sorted(_as_text(names))

    def _open_to_read(self) -> int:
        """A descriptor that can be listed and synced, which one with O_PATH cannot; the caller closes it."""
        with translated(""):
            return os.open(b".", os.O_RDONLY | os.O_DIRECTORY | _NO_LINKS, dir_fd=self._fd)

    def sync(self) -> None:
        """Blocks until the entries are on the disk."""
        fd = self._open_to_read()
        try:
            with translated(""):
                os.fsync(fd)
        finally:
            os.close(fd)

    def open_for_lock(self, name: str) -> int:
        """A descriptor of a directory that can be locked, which one of a HostDir cannot; the caller closes it."""
        with translated(name):
            return os.open(name.encode(), os.O_RDONLY | os.O_DIRECTORY | _NO_LINKS, dir_fd=self._fd)

    # -- making, opening, taking away

    def make_dir(self, name: str, mode: int) -> None:
        """Exists if the name is taken by anything."""
        with translated(name):
            os.mkdir(name.encode(), mode, dir_fd=self._fd)

    def make_file(self, name: str, mode: int) -> int:
        """A new, empty file, as a descriptor that reads and writes, which the caller closes. Exists if the name is
        taken by anything. NotSupported if the file system does not keep the mark of a link."""
        with translated(name):
            fd = os.open(name.encode(), os.O_RDWR | os.O_CREAT | os.O_EXCL | _NO_LINKS, mode, dir_fd=self._fd)
            # Some file systems drop the sticky bit: the link would come out as a plain file.
            if mode & stat.S_ISVTX and not os.fstat(fd).st_mode & stat.S_ISVTX:
                os.close(fd)
                os.unlink(name.encode(), dir_fd=self._fd)
                raise serr.NotSupported(name, "the host's file system keeps no mark for links")
            return fd

    def make_pipe(self, name: str, mode: int) -> None:
        """A FIFO. Exists if the name is taken by anything."""
        with translated(name):
            os.mkfifo(name.encode(), mode, dir_fd=self._fd)

    def open_file(self, name: str, *, writable: bool) -> int:
        """A descriptor of a regular file, which the caller closes. IsDir or Perm if it is something else."""
        access = os.O_RDWR if writable else os.O_RDONLY
        with translated(name):
            fd = os.open(name.encode(), access | _FILE, dir_fd=self._fd)
            # By the descriptor: what a name stands for may have changed since it was opened.
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                os.close(fd)
                raise serr.IsDir(name) if stat.S_ISDIR(self.look(name).mode) else serr.Perm(name)
            return fd

    def remove(self, name: str, *, is_dir: bool) -> None:
        """Takes an entry out. NotEmpty for a full directory; NotDir or IsDir if it is of the other kind by now."""
        with translated(name):
            if is_dir:
                os.rmdir(name.encode(), dir_fd=self._fd)
            else:
                os.unlink(name.encode(), dir_fd=self._fd)

    def rename(self, name: str, target: HostDir, new_name: str) -> None:
        """Unix rename: replaces a file or an empty directory. NotEmpty over a full directory (some file systems say
        Exists); NotFound is about the old name."""
        try:
            with translated(new_name):
                os.rename(name.encode(), new_name.encode(), src_dir_fd=self._fd, dst_dir_fd=target._fd)
        except serr.Exists as error:
            raise serr.NotEmpty(new_name) from error
        except serr.NotFound as error:
            raise serr.NotFound(name) from error

    def link(self, name: str, target: HostDir, new_name: str) -> None:
        """Gives a file or pipe a second name, which must be free. NotSupported where the host has no hard links."""
        try:
            with translated(new_name):
                os.link(
                    name.encode(), new_name.encode(), src_dir_fd=self._fd, dst_dir_fd=target._fd, follow_symlinks=False
                )
        except serr.SigmaError as error:
            cause = error.__cause__
            if isinstance(cause, OSError) and cause.errno in _NO_HARD_LINKS:
                raise serr.NotSupported(new_name, "the host's file system has no hard links for it") from error
            raise

    def give(self, name: str, target: HostDir, new_name: str) -> None:
        """Moves a file to a name that must be free: Exists otherwise, also in a race with the host's processes,
        as far as the file system has hard links."""
        with translated(new_name):
            # Not by a rename, which replaces without a word: a link needs the name to be free.
            try:
                os.link(name.encode(), new_name.encode(), src_dir_fd=self._fd, dst_dir_fd=target._fd)
            except OSError as error:
                if error.errno not in _NO_HARD_LINKS:
                    raise
                # A look and a rename: a program of the host may come in between, and its file would be replaced.
                if target.peek(new_name) is not None:
                    raise serr.Exists(new_name) from error
                os.rename(name.encode(), new_name.encode(), src_dir_fd=self._fd, dst_dir_fd=target._fd)
            else:
                os.unlink(name.encode(), dir_fd=self._fd)

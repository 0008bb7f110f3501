"""Where files are made ready before they appear: a hidden directory on the file system of the rest.

Each process has a directory of its own in it, locked for as long as it lives; the next one that starts clears what
dead ones left.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import stat
from typing import TYPE_CHECKING, Final

from kernel.ux import hostfile
from kernel.ux.hostdir import host_stat, translated
from sigmaos_ray import serr
from sigmaos_ray.sigmap import NO_OFFSET

if TYPE_CHECKING:
    from kernel.ux.hostdir import HostDir
    from kernel.ux.state import HostStat

HIDDEN: Final = ".sigmaos-ux"
"""The one entry of the root that is not shown."""


class Prepared:
    """A file that is written and waits for its name. Whoever gets it places it, and drops it in the end."""

    __slots__ = ("fd", "name")

    def __init__(self, name: str, fd: int) -> None:
        self.name = name
        self.fd = fd

    def take_fd(self) -> int:
        """The descriptor, which then belongs to the caller; -1 if it was taken before."""
        fd, self.fd = self.fd, -1
        return fd


class Workshop:
    """This process's own part of HIDDEN, below ``root``. Owned by the store, which closes it."""

    def __init__(self, root: HostDir) -> None:
        self._hidden = root.clone()
        try:
            _make_if_absent(self._hidden, HIDDEN)
            self._hidden.enter(HIDDEN)
            self._name, self._lock_fd = _claim(self._hidden)
            self._own = self._hidden.clone()
            self._own.enter(self._name)
            for other in self._hidden.names():
                if other != self._name:
                    _sweep_if_dead(self._hidden, other)
        except BaseException:
            self._hidden.close()
            raise

    def close(self) -> None:
        """Clears what was prepared and not placed."""
        _sweep(self._hidden, self._name)
        os.close(self._lock_fd)
        self._own.close()
        self._hidden.close()

    def prepare(self, data: bytes, offset: int, mode: int, name: str) -> Prepared:
        """A file with ``data`` at ``offset`` (NO_OFFSET is the beginning here), to be called ``name``. Blocks; may run
        in a thread."""
        working_name = secrets.token_hex(8)
        prepared = Prepared(working_name, self._own.make_file(working_name, mode))
        try:
            hostfile.write(prepared.fd, 0 if offset == NO_OFFSET else offset, data, name)
        except BaseException:
            self.drop(prepared)
            raise
        return prepared

    def place_new(self, prepared: Prepared, directory: HostDir, name: str) -> None:
        """Gives it a name that must be free; Exists otherwise."""
        self._own.give(prepared.name, directory, name)

    def place_over(self, prepared: Prepared, directory: HostDir, name: str, old: HostStat) -> None:
        """Lets it take the place of a file, with that file's mode and, where we may, owner."""
        with translated(name):
            with contextlib.suppress(PermissionError):  # only root gives files away: else it is ours
                os.fchown(prepared.fd, old.uid, old.gid)
            os.fchmod(prepared.fd, stat.S_IMODE(old.mode))
        self._own.rename(prepared.name, directory, name)

    def drop(self, prepared: Prepared) -> None:
        """Frees what is left of it: the descriptor if nobody took it, the file if it was not placed."""
        fd = prepared.take_fd()
        if fd >= 0:
            os.close(fd)
        with contextlib.suppress(serr.NotFound):
            self._own.remove(prepared.name, is_dir=False)


def _make_if_absent(directory: HostDir, name: str) -> None:
    with contextlib.suppress(serr.Exists):
        directory.make_dir(name, 0o700)


def _claim(hidden: HostDir) -> tuple[str, int]:
    """A new directory and the descriptor that holds its lock."""
    while True:
        name = f"{os.getpid()}-{secrets.token_hex(4)}"
        hidden.make_dir(name, 0o700)
        with contextlib.suppress(serr.NotFound):  # another process swept it before it was locked
            lock_fd = _lock(hidden, name)
            if lock_fd is not None:
                return name, lock_fd


def _lock(hidden: HostDir, name: str) -> int | None:
    """A descriptor that holds the lock of a process's directory; None if that process lives."""
    fd = hidden.open_for_lock(name)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if host_stat(os.fstat(fd)).inode == hidden.look(name).inode:
            return fd
    except BlockingIOError:
        os.close(fd)
        return None
    except BaseException:
        os.close(fd)
        raise
    os.close(fd)
    return None


def _sweep_if_dead(hidden: HostDir, name: str) -> None:
    try:
        lock_fd = _lock(hidden, name)
    except serr.SigmaError:  # gone meanwhile, or nothing of ours
        return
    if lock_fd is not None:
        _sweep(hidden, name)
        os.close(lock_fd)


def _sweep(hidden: HostDir, name: str) -> None:
    with hidden.clone() as directory:
        directory.enter(name)
        for file in directory.names():
            directory.remove(file, is_dir=False)
    hidden.remove(name, is_dir=True)

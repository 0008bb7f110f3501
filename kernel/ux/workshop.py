"""Where files are made ready before they appear: a hidden directory on the file system of the rest.

Each process has a directory of its own in it, locked for as long as it lives; the next one that starts clears what
dead ones left, also in the tree (see ``passing``).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import stat
from typing import TYPE_CHECKING, Final

from kernel.ux import hostfile, passing
from kernel.ux.hostdir import host_stat, translated
from kernel.ux.journal import JOURNAL
from kernel.ux.passing import Passing
from sigmaos_ray import serr
from sigmaos_ray.sigmap import NO_OFFSET

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kernel.ux.hostdir import HostDir
    from kernel.ux.state import HostStat

HIDDEN: Final = ".sigmaos-ux"
"""The one entry of the root that is not shown."""


class Workpiece:
    """A file that is written and waits for its name. Whoever gets it places it, and drops it in the end."""

    __slots__ = ("fd", "is_placed", "name")

    def __init__(self, name: str, fd: int = -1) -> None:
        self.name = name
        self.fd = fd
        self.is_placed = False
        """True once its name here is gone, or is the mark of an entry."""

    def take_fd(self) -> int:
        """The descriptor, which then belongs to the caller; -1 if it was taken before, and for a pipe."""
        fd, self.fd = self.fd, -1
        return fd


class Workshop:
    """This process's own part of HIDDEN, below ``root``. Owned by the store, which closes it."""

    def __init__(self, root: HostDir, *, sync: bool = False) -> None:
        self._root = root
        self._sync = sync
        with contextlib.ExitStack() as parts:
            self._hidden = parts.enter_context(root.clone())
            _make_if_absent(self._hidden, HIDDEN)
            self._hidden.enter(HIDDEN)
            for other in self._hidden.names():
                _sweep_if_dead(root, self._hidden, other)
            self._name, lock_fd = _claim(self._hidden)
            # The lock ends with this descriptor, so with the process, however that ends.
            parts.callback(os.close, lock_fd)
            self._own = parts.enter_context(self._hidden.clone())
            self._own.enter(self._name)
            self.passing = Passing(self._own, sync=sync)
            self._parts = parts.pop_all()

    def open_hidden(self) -> int:
        """A descriptor of HIDDEN itself, where the tree's fences are kept; the caller closes it. Error if it was
        removed on the host."""
        check_there(self._hidden)
        return self._hidden.open_for_lock(".")

    def close(self) -> None:
        """Clears what was prepared and not placed, and what is not to outlive this process."""
        self.passing.close()
        with contextlib.suppress(serr.NotFound):  # all of it was removed on the host
            _sweep(self._root, self._hidden, self._name)
        # The lock last: while it is held no other server sweeps what is being swept here.
        self._parts.close()

    def prepare(self, data: bytes, offset: int, mode: int, name: str) -> Workpiece:
        """A file with ``data`` at ``offset`` (NO_OFFSET is the beginning here), to be called ``name``. Blocks; may run
        in a thread."""
        check_there(self._own)
        working_name = secrets.token_hex(8)
        piece = Workpiece(working_name, self._own.make_file(working_name, mode))
        try:
            hostfile.write(piece.fd, 0 if offset == NO_OFFSET else offset, data, name)
            if self._sync:
                hostfile.sync(piece.fd, name)
        except BaseException:  # whatever it was: half a piece is none
            self.drop(piece)
            raise
        return piece

    def prepare_pipe(self, mode: int) -> Workpiece:
        """A pipe that waits for its name."""
        check_there(self._own)
        piece = Workpiece(secrets.token_hex(8))
        self._own.make_pipe(piece.name, mode)
        return piece

    def place_new(self, piece: Workpiece, directory: HostDir, name: str) -> None:
        """Gives it a name that must be free; Exists otherwise."""
        self._own.give(piece.name, directory, name)
        piece.is_placed = True

    def place_over(self, piece: Workpiece, directory: HostDir, name: str, old: HostStat) -> None:
        """Lets it take the place of a file, with that file's mode and, where we may, owner."""
        with translated(name):
            # Owner before mode: to change the owner takes set-user-ID bits away.
            with contextlib.suppress(PermissionError):  # only root gives files away: else it is ours
                os.fchown(piece.fd, old.uid, old.gid)
            os.fchmod(piece.fd, stat.S_IMODE(old.mode))
        self._own.rename(piece.name, directory, name)
        piece.is_placed = True

    def place_passing(self, piece: Workpiece, directory: HostDir, way: Sequence[str]) -> str:
        """Like ``place_new`` at ``way``, in its directory, for an entry that does not outlive this process. Returns its
        mark."""
        # Its working name becomes its mark: entry and mark are two names of one inode from the first moment.
        self.passing.expect(piece.name, way)
        self._own.link(piece.name, directory, way[-1])
        piece.is_placed = True
        return piece.name

    def place_passing_over(self, piece: Workpiece, directory: HostDir, way: Sequence[str], old: HostStat) -> str:
        """Like ``place_over``, for an entry that does not outlive this process. Returns its mark."""
        mark = self.passing.mark(piece.name, self._own)
        try:
            self.passing.expect(mark, way)
            self.place_over(piece, directory, way[-1], old)
        except BaseException:  # whatever it was: a mark that nothing expects is to go
            self.passing.forget(mark)
            raise
        return mark

    def drop(self, piece: Workpiece) -> None:
        """Frees what is left of it: the descriptor if nobody took it, the file if it was not placed."""
        fd = piece.take_fd()
        if fd >= 0:
            os.close(fd)
        if not piece.is_placed:
            with contextlib.suppress(serr.NotFound):
                self._own.remove(piece.name, is_dir=False)


def check_there(directory: HostDir) -> None:
    """Error if HIDDEN, or what is ours in it, was removed on the host."""
    if directory.is_removed:
        raise serr.Error(f"/{HIDDEN}", "ux keeps it for itself, and it was removed on the host: restart ux")


def _make_if_absent(directory: HostDir, name: str) -> None:
    with contextlib.suppress(serr.Exists):
        directory.make_dir(name, 0o700)


def _claim(hidden: HostDir) -> tuple[str, int]:
    """A new directory and the descriptor that holds its lock."""
    while True:
        name = f"{os.getpid()}-{secrets.token_hex(4)}"
        hidden.make_dir(name, 0o700)
        # Another process may sweep the directory before it is locked: then it is made once more.
        with contextlib.suppress(serr.NotFound):
            lock_fd = _lock(hidden, name)
            if lock_fd is not None:
                return name, lock_fd


def _lock(hidden: HostDir, name: str) -> int | None:
    """A descriptor that holds the lock of a process's directory; None if that process lives."""
    fd = hidden.open_for_lock(name)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Between the opening and the lock another server may have swept the directory: its lock guards nothing.
        if host_stat(os.fstat(fd)).inode == hidden.look(name).inode:
            return fd
    except BlockingIOError:
        os.close(fd)
        return None
    except BaseException:  # whatever it was: nobody else has the descriptor
        os.close(fd)
        raise
    os.close(fd)
    return None


def _sweep_if_dead(root: HostDir, hidden: HostDir, name: str) -> None:
    try:
        lock_fd = _lock(hidden, name)
    except serr.SigmaError:  # gone meanwhile, or nothing of ours
        return
    if lock_fd is not None:
        try:
            _sweep(root, hidden, name)
        finally:
            os.close(lock_fd)


def _sweep(root: HostDir, hidden: HostDir, name: str) -> None:
    """Clears a process's directory. What cannot be cleared today is left for the next sweep, with the journal."""
    with hidden.clone() as directory:
        directory.enter(name)
        if not passing.clear(root, directory):
            return
        for file in directory.names():
            # The journal goes last: a crash in between leaves it to the next sweep.
            if file != JOURNAL:
                directory.remove(file, is_dir=False)
        with contextlib.suppress(serr.NotFound):
            directory.remove(JOURNAL, is_dir=False)
    hidden.remove(name, is_dir=True)

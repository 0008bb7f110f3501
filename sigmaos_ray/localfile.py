"""Writing a file of this machine's user, which is his whatever happens: his other files are not touched, and what was
there stays until what is new is there as a whole.

What is new is written into a file without a name in the directory of the old one, which takes its place in one moment;
where the file system has no such files, into one of a name that nobody has. A link leads to what is replaced, and
stays; the permissions of what was there are kept. What cannot be replaced is written in place: a pipe or device as the
data come; a file with several names, or in a directory that lets nobody make one, once all data are there.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import stat
import tempfile
from typing import IO, TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_COPY_BYTES: Final = 1 << 20
_NO_NAMELESS: Final = frozenset({errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL})
"""Of an open with O_TMPFILE: the file system has none, or its kernel does not know the flag."""
_DEVICES: Final = ("/dev/", "/proc/")
"""Where names such as ``/dev/stdout`` are files that are open already."""
_NO_MAKING: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


class LocalWriter:
    """One file that is being written; ``file`` takes the data. ``commit`` or ``discard`` ends it. Methods block."""

    def __init__(self, path: str | os.PathLike[str], *, is_secret: bool = False) -> None:
        """Raises OSError, with the path in it, for what cannot be written, before anything has changed. ``is_secret``:
        a file that is made, or replaced, is for its owner alone, whoever could read it before."""
        self._path = os.fspath(path)
        self._is_secret = is_secret
        self._old = _stat(self._path)
        self._target = ""
        """What is replaced in the end; empty where it is written in place."""
        self._temporary = ""
        """The new file's name for now; empty while it has none."""
        self._is_spooled = False
        self.file: IO[bytes] = self._open()

    def _open(self) -> IO[bytes]:
        old = self._old
        if self._path.startswith(_DEVICES) or (old is not None and not stat.S_ISREG(old.st_mode)):
            return open(self._path, "wb")  # a directory says so itself
        if old is not None:
            # Whether it may be written, as it says itself: its directory alone would let it be replaced.
            os.close(os.open(self._path, os.O_WRONLY))
        if old is not None and old.st_nlink > 1:
            return self._spool()
        self._target = os.path.realpath(self._path)  # through links, also to what is not there yet
        try:
            return os.fdopen(self._make(), "wb")
        except OSError as error:
            if old is not None and error.errno in _NO_MAKING:
                return self._spool()
            raise OSError(error.errno, error.strerror, self._path) from None

    def _spool(self) -> IO[bytes]:
        self._target, self._is_spooled = "", True
        return tempfile.TemporaryFile()

    def _mode(self) -> int:
        """Of a file that is made, before the process's mask."""
        return 0o600 if self._is_secret else 0o666

    def _make(self) -> int:
        directory = os.path.dirname(self._target)
        try:
            return os.open(directory, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, self._mode())
        except OSError as error:
            if error.errno not in _NO_NAMELESS:
                raise
        while True:
            name = _free_name(directory)
            with contextlib.suppress(FileExistsError):
                number = os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, self._mode())
                self._temporary = name
                return number

    def commit(self) -> None:
        """The new contents take their place; OSError leaves what was there, but for a file that is written in
        place."""
        try:
            self.file.flush()
            if self._target:
                self._replace()
            elif self._is_spooled:
                self.file.seek(0)
                with open(self._path, "wb") as target:
                    shutil.copyfileobj(self.file, target, _COPY_BYTES)
        except OSError as error:
            raise OSError(error.errno, error.strerror, self._path) from None
        finally:
            self.discard()

    def _replace(self) -> None:
        if self._old is not None:
            with contextlib.suppress(PermissionError):  # another user's: then it becomes our own, as an editor has it
                os.fchown(self.file.fileno(), self._old.st_uid, self._old.st_gid)
            # Without the bits that a write takes off, too.
            os.fchmod(self.file.fileno(), stat.S_IMODE(self._old.st_mode) & (0o600 if self._is_secret else 0o1777))
        while not self._temporary:
            # Only now has it a name, for a moment: who is killed before leaves nothing.
            name = _free_name(os.path.dirname(self._target))
            with contextlib.suppress(FileExistsError):
                number = self.file.fileno()
                # With a directory, which an absolute name does not need: only then does Python follow the link.
                os.link(f"/proc/self/fd/{number}", name, src_dir_fd=number, follow_symlinks=True)
                self._temporary = name
        os.replace(self._temporary, self._target)
        self._temporary = ""

    def discard(self) -> None:
        """Drops what was written; what was there stays, but for a pipe or device. May be repeated."""
        if self._temporary:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._temporary)
            self._temporary = ""
        with contextlib.suppress(OSError):
            self.file.close()


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str], *, is_secret: bool = False) -> Iterator[IO[bytes]]:
    """A file to write the new contents to, which are there at the end of the block; if it raises, the old ones stay."""
    writer = LocalWriter(path, is_secret=is_secret)
    try:
        yield writer.file
        writer.commit()
    finally:
        writer.discard()


def _stat(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except FileNotFoundError:
        return None


def _free_name(directory: str) -> str:
    """A name that nobody has: random, and made so that nothing is overwritten if somebody has it all the same."""
    return os.path.join(directory, f".sigmaos-{secrets.token_hex(8)}")

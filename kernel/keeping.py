"""What a kernel service keeps on its node for the server that comes after it: small files, replaced as a whole.

A directory is given by a function that opens it, and is closed after each use: who has a path opens that, who holds a
descriptor opens it anew, so that a directory which was moved on the host is still the same one.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final, Generic, TypeAlias, TypeVar

import msgspec

from sigmaos_ray import decoding, serr
from sigmaos_ray.protsrv.fences import FenceTable
from sigmaos_ray.sigmap import Fence

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")

FENCES_FILE: Final = "fences"

OpenDirectory: TypeAlias = "Callable[[], int]"
"""Gives a descriptor of a directory that can be locked and synced; the caller closes it."""


def make_directory(path: str) -> Path | None:
    """A directory for its own user only; None for ``""``. Error if it cannot be made."""
    if not path:
        return None
    directory = Path(path)
    with _translated(path):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    return directory


def opening(directory: Path | None) -> OpenDirectory | None:
    """Opens the directory at a path; None: there is none, and what is kept lasts as long as the server."""
    if directory is None:
        return None
    return functools.partial(os.open, directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


class KeptFile(Generic[T]):
    """One value, as JSON. Calls block until they are done; another server of the same directory waits meanwhile."""

    def __init__(self, open_directory: OpenDirectory | None, name: str, kind: type[T], *, syncs: bool) -> None:
        """``syncs``: what was written outlives a loss of power."""
        self._open_directory = open_directory
        self._name = name
        self._decode = decoding.json_decoder(kind)
        self._syncs = syncs

    def read(self) -> T | None:
        """None if nothing was kept. Error if the file is damaged: to go on without what it said is not for the server
        to decide."""
        if self._open_directory is None:
            return None
        with self._locked(self._open_directory) as directory:
            return self._read(directory)

    def update(self, change: Callable[[T | None], T]) -> None:
        """Replaces the value by what ``change`` makes of it. Error if the disk does not take it: then the old one
        stands."""
        if self._open_directory is None:
            return
        with self._locked(self._open_directory) as directory:
            self._replace(directory, msgspec.json.encode(change(self._read(directory))))

    @contextlib.contextmanager
    def _locked(self, open_directory: OpenDirectory) -> Iterator[int]:
        with _translated(self._name):
            directory = open_directory()
            try:
                # The lock is the descriptor's: it goes with the close, and with a process that is killed.
                fcntl.flock(directory, fcntl.LOCK_EX)
                yield directory
            finally:
                os.close(directory)

    def _read(self, directory: int) -> T | None:
        try:
            # The directory may be open to the host's programs: a link there could lead anywhere.
            fd = os.open(self._name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
        except FileNotFoundError:
            return None
        with open(fd, "rb") as file:
            data = file.read()
        try:
            return self._decode(data)
        except msgspec.MsgspecError as error:
            raise serr.Error(self._name, f"the server's file of {self._name} is damaged: {error}") from error

    def _replace(self, directory: int, data: bytes) -> None:
        # One name will do: the lock is ours, and what a crash left half written is written anew.
        new = f"{self._name}-new"
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            with open(os.open(new, flags, 0o600, dir_fd=directory), "wb") as file:
                file.write(data)
                file.flush()
                if self._syncs:
                    os.fsync(file.fileno())
            os.rename(new, self._name, src_dir_fd=directory, dst_dir_fd=directory)
        except BaseException:  # whatever it is: half a file must not stay
            with contextlib.suppress(FileNotFoundError):
                os.unlink(new, dir_fd=directory)
            raise
        # A rename outlives a loss of power once the directory is synced as well.
        if self._syncs:
            os.fsync(directory)


class FenceFile:
    """The newest fences on the disk, so that a server that starts again still refuses who was deposed (L-21). Synced:
    the change that a fence came with may be by the last leader before everything stops."""

    def __init__(self, open_directory: OpenDirectory | None) -> None:
        self._file = KeptFile(open_directory, FENCES_FILE, list[Fence], syncs=True)
        self._ours: frozenset[str] = frozenset()
        """Pathnames that were known here at the last write."""
        self.is_behind = False
        """True if the last write failed: what is newest is not on the disk."""

    def load(self) -> list[Fence]:
        """Error if the file is damaged."""
        fences = self._file.read() or []
        self._ours = frozenset(fence.pathname for fence in fences)
        return fences

    def save(self, newest: list[Fence]) -> None:
        """Keeps these fences, and newer ones of another server of the same directory, of which one is about to end;
        forgets those that are no longer among them. Error if the disk does not take them."""
        self.is_behind = True
        self._file.update(functools.partial(self._merged, newest))
        self._ours = frozenset(fence.pathname for fence in newest)
        self.is_behind = False

    def _merged(self, newest: list[Fence], kept: list[Fence] | None) -> list[Fence]:
        merged = {fence.pathname: fence for fence in newest}
        for theirs in kept or []:
            mine = merged.get(theirs.pathname)
            # Missing here and known before: forgotten on purpose. Never known here: another server's.
            is_forgotten = mine is None and theirs.pathname in self._ours
            if not is_forgotten and (mine is None or theirs > mine):
                merged[theirs.pathname] = theirs
        return list(merged.values())


class KeptFences:
    """The fences of a server, of which the newest are on the disk before the change that they came with."""

    def __init__(self, open_directory: OpenDirectory | None) -> None:
        """Error if what is kept there is damaged."""
        self._file = FenceFile(open_directory)
        self.table = FenceTable(self._file.load(), self._save)

    def check(self, *fences: Fence) -> None:
        """Before a change: Stale for a fence that another has overtaken. A newer fence is on the disk once this
        returns; Error if it cannot be written."""
        self.table.check(*fences)
        # A fence that could not be written is in the table all the same, and would pass the second time.
        if self._file.is_behind:
            self._save()

    def _save(self) -> None:
        self._file.save(self.table.newest())


@contextlib.contextmanager
def _translated(name: str) -> Iterator[None]:
    """Errors of the OS are Error: the change that was to follow is not made, so none of it is unknown."""
    try:
        yield
    except serr.SigmaError:  # some of these are errors of the OS, too
        raise
    except OSError as error:
        raise serr.Error(name, str(error)) from error

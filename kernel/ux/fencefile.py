"""The newest fences on the disk, so that a server that starts again still refuses who was deposed (L-21).

One file in the hidden directory, replaced as a whole and synced, since the change that a fence came with may be by
the last leader before everything stops. Two servers of one tree, of which one is about to end, keep what both know.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from typing import TYPE_CHECKING, Final

import msgspec

from kernel.ux import hostfile
from kernel.ux.workshop import check_there
from sigmaos_ray import decoding, serr
from sigmaos_ray.sigmap import Fence

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kernel.ux.hostdir import HostDir

FENCES_FILE: Final = "fences"


class FenceFile:
    """Reads and writes the fences of the tree whose hidden directory this is. Calls block until the disk has it."""

    def __init__(self, hidden: HostDir) -> None:
        self._hidden = hidden
        self._ours: frozenset[str] = frozenset()
        """Pathnames that were known here at the last write."""
        self.is_behind = False
        """True if the last write failed: what is newest is not on the disk."""

    def load(self) -> list[Fence]:
        """Error if the file is damaged: to forget fences is not for the server to decide."""
        with self._locked():
            for name in self._hidden.names():
                if name.startswith(f"{FENCES_FILE}-"):  # of a write that a crash cut short
                    self._hidden.remove(name, is_dir=False)
            fences = self._read()
        self._ours = frozenset(fence.pathname for fence in fences)
        return fences

    def save(self, newest: list[Fence]) -> None:
        """Keeps these fences, and newer ones of another server; forgets those that are no longer among them."""
        self.is_behind = True
        check_there(self._hidden)
        mine = {fence.pathname: fence for fence in newest}
        with self._locked():
            for theirs in self._read():
                known = mine.get(theirs.pathname)
                forgotten = known is None and theirs.pathname in self._ours
                if not forgotten and (known is None or theirs > known):
                    mine[theirs.pathname] = theirs
            self._replace(msgspec.json.encode(list(mine.values())))
        self._ours = frozenset(fence.pathname for fence in newest)
        self.is_behind = False

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        fd = self._hidden.open_for_lock(".")
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    def _read(self) -> list[Fence]:
        try:
            fd = self._hidden.open_file(FENCES_FILE, writable=False)
        except serr.NotFound:
            return []
        try:
            data = hostfile.read(fd, 0, hostfile.length(fd, FENCES_FILE), FENCES_FILE)
        finally:
            os.close(fd)
        try:
            return decoding.json_decoder(list[Fence])(data)
        except msgspec.MsgspecError as error:
            raise serr.Error(FENCES_FILE, f"ux's file of fences is damaged: {error}") from error

    def _replace(self, data: bytes) -> None:
        new = f"{FENCES_FILE}-{secrets.token_hex(4)}"
        fd = self._hidden.make_file(new, 0o600)
        try:
            hostfile.write(fd, 0, data, FENCES_FILE)
            hostfile.sync(fd, FENCES_FILE)
            self._hidden.rename(new, self._hidden, FENCES_FILE)
        except BaseException:  # a cancellation too: what was begun is undone, and it goes on
            with contextlib.suppress(serr.NotFound):
                self._hidden.remove(new, is_dir=False)
            raise
        finally:
            os.close(fd)
        self._hidden.sync()

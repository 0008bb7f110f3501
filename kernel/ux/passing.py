"""What does not outlive the server, on the disk: leased files (L-2, L-6) and pipes.

Each such entry has a second name, its mark, in the server's own hidden directory, and the journal there tells where
it may be in the tree. The mark keeps the inode from being used again, so that an entry that has the mark's inode is
that very file, whatever became of its name meanwhile: the next server removes that, and nothing else. Mark and record
are made before the entry appears, and unmade after it is gone; so each crash leaves at most marks without entries.

A file that a program of the host moved elsewhere is the host's.
"""

from __future__ import annotations

import contextlib
import secrets
from typing import TYPE_CHECKING, Final

from kernel.ux import journal
from kernel.ux.journal import At, Gone, Moved, PlacesJournal
from sigmaos_ray import debug, serr

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from kernel.ux.hostdir import HostDir

RECORDS_SPARE_COUNT: Final = 1024
"""The journal is written anew once it has twice as many records as there are entries, and so many more."""


class Passing:
    """The marks and the journal of a server that lives. Owned by the workshop. Calls block shortly."""

    def __init__(self, own: HostDir, *, sync: bool) -> None:
        self._own = own
        self._sync = sync
        self._journal = PlacesJournal(own, sync=sync)

    def close(self) -> None:
        """Leaves everything as it is for ``clear``."""
        self._journal.close()

    def is_long(self, entries_count: int) -> bool:
        """True if the journal should be written anew."""
        return self._journal.records_count > 2 * entries_count + RECORDS_SPARE_COUNT

    def rewrite(self, entries: Iterable[tuple[str, Sequence[str]]]) -> None:
        """``entries``: all that live, by mark, and where they are."""
        self._journal.rewrite(At(mark, list(way)) for mark, way in entries)

    def expect(self, mark: str, way: Sequence[str]) -> None:
        """An entry whose mark is there may be at ``way`` from now on. Once this returns, the next server knows."""
        if self._sync:
            # The mark first: a record of a mark that a loss of power took away would clear nothing.
            self._own.sync()
        self._journal.append(At(mark, list(way)))

    def mark(self, name: str, directory: HostDir) -> str:
        """A mark of something that has a name already. NotSupported where the host has no hard links."""
        mark = secrets.token_hex(8)
        directory.link(name, self._own, mark)
        return mark

    def mark_checked(self, name: str, directory: HostDir, inode: tuple[int, int]) -> str:
        """Like ``mark``; NotFound if the name stands for something else by now."""
        # Linked first and looked at then: a look before would say nothing of what the link finds.
        mark = self.mark(name, directory)
        if self._own.look(mark).inode != inode:
            self._own.remove(mark, is_dir=False)
            raise serr.NotFound(name, "replaced on the host")
        return mark

    def expect_below(self, old: Sequence[str], new: Sequence[str]) -> None:
        """A directory may move."""
        self._journal.append(Moved(list(old), list(new)))

    def forget(self, mark: str) -> None:
        """The entry is gone from the tree."""
        with contextlib.suppress(serr.NotFound):
            self._own.remove(mark, is_dir=False)
        try:
            self._journal.append(Gone(mark))
        except serr.SigmaError as error:  # harmless: without its mark the record means nothing
            debug.error(f"ux: the journal cannot be written: {error}")


def clear(root: HostDir, own: HostDir) -> bool:
    """Removes the entries of a server that is dead or ends, and then their marks. May be repeated after a crash. False
    if some cannot be removed today: then their marks stay."""
    try:
        places = journal.places(journal.read(own))
    except serr.NotFound:
        return True
    # One that is stuck holds up no other; the journal stays with the marks, and the next sweep tries again.
    cleared = [_is_cleared(root, own, mark, ways) for mark, ways in places.items()]
    return all(cleared)


def _is_cleared(root: HostDir, own: HostDir, mark: str, ways: Iterable[Sequence[str]]) -> bool:
    try:
        _clear_one(root, own, mark, ways)
        return True
    except serr.SigmaError as error:
        debug.error(f"ux: an entry that has passed cannot be removed: {error}")
        return False


def _clear_one(root: HostDir, own: HostDir, mark: str, ways: Iterable[Sequence[str]]) -> None:
    # Without its mark there is nothing to compare with: the entry is gone, or was cleared before a crash.
    marked = own.peek(mark)
    if marked is None:
        return
    for way in ways:
        with contextlib.suppress(serr.NotFound, serr.NotDir), root.clone() as directory:
            for name in way[:-1]:
                directory.enter(name)
            present = directory.peek_any(way[-1])
            if present is not None and present.inode == marked.inode:
                directory.remove(way[-1], is_dir=False)
    # Last: without its mark the inode may be used again, and another crash would clear the wrong file.
    own.remove(mark, is_dir=False)

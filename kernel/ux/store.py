"""The directory of the host that ux shows. With the other modules that name ``HostDir``: all that touches the OS.

What was acknowledged survives the death of this process, since it stands in the kernel's cache or on the disk by
then. With ``syncs`` it survives the death of the machine too: contents are synced before they appear or at the close,
directories after each change.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING, Final, NamedTuple

from kernel.ux import hostfile
from kernel.ux.hostdir import HostDir, translated
from kernel.ux.listing import place_after
from kernel.ux.workshop import HIDDEN, Workpiece, Workshop
from sigmaos_ray import serr
from sigmaos_ray.protsrv.threads import Threads

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kernel.ux.state import HostStat

INLINE_BYTES_MAX: Final = 64 << 10
"""Transfers up to here run on the loop: a read of 64 KiB takes some 3 us, and handing it to a thread 140 us. The same
goes for calls on names (3 to 100 us), which are short; larger transfers and long listings go to threads."""

INLINE_READ_BYTES_MAX: Final = 1 << 20
"""Reads up to here run on the loop too, where the host says that they wait for no disk."""

INLINE_NAMES_MAX: Final = 64
"""Directories with so many entries are listed on the loop."""


class Page(NamedTuple):
    """A part of a directory."""

    entries: list[tuple[str, HostStat]]
    names: list[str]
    """Of the whole directory, in order."""


class UxStore:
    """Opens ``root``, and makes it (mode 0700) if it is absent. Owned by the server, which closes it."""

    def __init__(self, root: str, threads_max: int, *, syncs: bool = False) -> None:
        with translated(root):
            os.makedirs(root, mode=0o700, exist_ok=True)
        self.syncs = syncs
        self._is_closed = False
        with contextlib.ExitStack() as parts:
            self._root = parts.enter_context(HostDir.open_root(root))
            self.workshop = Workshop(self._root, sync=syncs)
            # From here on the store owns both, and closes them.
            parts.pop_all()
        self._threads = Threads("ux", threads_max)

    def close(self) -> None:
        """Ends the threads, and clears what was prepared and what does not outlive the server. May be repeated."""
        if self._is_closed:
            return
        self._is_closed = True
        # Threads first: they may still hold workpieces, which the workshop then clears.
        self._threads.close()
        self.workshop.close()
        self._root.close()

    def directory(self, way: Sequence[str]) -> HostDir:
        """The directory that the names lead to from the root, each opened in the one before without following
        links. The caller closes it. Error if the root was removed on the host."""
        if self._root.is_removed:
            raise serr.Error("/", "the directory that ux shows was removed on the host")
        directory = self._root.clone()
        try:
            for name in way:
                directory.enter(name)
        except BaseException:  # whatever it was: nobody else has the descriptor
            directory.close()
            raise
        return directory

    async def page(
        self,
        way: Sequence[str],
        names: list[str] | None,
        after: str,
        limit: int,
        is_shown: Callable[[HostStat], bool],
        *,
        now: bool = False,
    ) -> Page:
        """At most ``limit`` entries after a name, in order. ``names``: as an earlier page found them. ``now``: on the
        loop, however long it takes."""
        with self.directory(way) as directory:
            # A later page of a long listing goes to a thread, too: each of its entries is looked at.
            if names is None and (names := directory.few_names(INLINE_NAMES_MAX)) is not None:
                now = True
            if now:
                return _page(directory, way, names, after, limit, is_shown)
            return await self._threads.run(_page, directory, way, names, after, limit, is_shown)

    def read_now(self, fd: int, offset: int, count: int, name: str) -> bytes | None:
        """At most ``count`` bytes, fewer only at the end; None if to read them takes long."""
        present_bytes = max(0, hostfile.length(fd, name) - offset)
        if min(count, present_bytes) <= INLINE_BYTES_MAX:
            # At the end too: what grows, and files that the host makes up, have more than they say.
            return hostfile.read(fd, offset, min(count, INLINE_BYTES_MAX), name)
        count = min(count, present_bytes)
        return hostfile.read_present(fd, offset, count) if count <= INLINE_READ_BYTES_MAX else None

    async def read(self, fd: int, offset: int, count: int, name: str) -> bytes:
        """At most ``count`` bytes; empty at and past the end. Waits for the disk in a thread."""
        if count <= INLINE_BYTES_MAX:
            return hostfile.read(fd, offset, count, name)
        return await self._threads.run(hostfile.read, fd, offset, count, name)

    async def write(self, fd: int, offset: int, data: bytes, name: str) -> int:
        """Writes all of ``data``; NO_OFFSET: at the end. If it fails, the file is no longer than it was."""
        if len(data) <= INLINE_BYTES_MAX:
            return hostfile.write(fd, offset, data, name)
        return await self._threads.run(hostfile.write, fd, offset, data, name)

    async def prepare(self, data: bytes, offset: int, mode: int, name: str) -> Workpiece:
        """A file that can appear whole; see Workshop. The caller drops it in the end."""
        # With syncs always in a thread: the disk takes milliseconds, however little it is.
        if len(data) <= INLINE_BYTES_MAX and not self.syncs:
            return self.workshop.prepare(data, offset, mode, name)
        pieces: list[Workpiece] = []
        # By a list: of a call that is cancelled there is no result, though the thread has made one.
        try:
            await self._threads.run(lambda: pieces.append(self.workshop.prepare(data, offset, mode, name)))
        except asyncio.CancelledError:
            for piece in pieces:
                self.workshop.drop(piece)
            raise
        return pieces[0]

    async def sync_file(self, fd: int, name: str) -> None:
        """Returns once the contents are on the disk."""
        await self._threads.run(hostfile.sync, fd, name)

    async def sync_dir(self, way: Sequence[str]) -> None:
        """Returns once the directory's entries are on the disk."""
        with self.directory(way) as directory:
            await self._threads.run(directory.sync)


def _page(
    directory: HostDir,
    way: Sequence[str],
    names: list[str] | None,
    after: str,
    limit: int,
    is_shown: Callable[[HostStat], bool],
) -> Page:
    if names is None:
        names = directory.names()
    place = place_after(names, after)
    entries: list[tuple[str, HostStat]] = []
    while place < len(names) and len(entries) < limit:
        name = names[place]
        place += 1
        if not way and name == HIDDEN:
            continue
        try:
            host = directory.look(name)
        except (serr.NotFound, serr.Perm):  # it went meanwhile, or is not shown
            continue
        if is_shown(host):
            entries.append((name, host))
    return Page(entries, names)

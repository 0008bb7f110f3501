"""The directory of the host that ux shows. With ``hostdir``, ``hostfile`` and ``workshop``: all that touches the OS.

What was acknowledged survives the death of this process, since it stands in the kernel's cache or on the disk by
then. It need not survive the death of the machine: nothing is synced.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Final

from kernel.ux import hostfile
from kernel.ux.hostdir import HostDir, translated
from kernel.ux.workshop import HIDDEN, Prepared, Workshop
from sigmaos_ray import serr
from sigmaos_ray.protsrv.threads import Threads

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kernel.ux.state import HostStat

INLINE_BYTES_MAX: Final = 64 << 10
"""Transfers up to here run on the loop: a read of 64 KiB takes some 3 us, and handing it to a thread 140 us. The same
goes for calls on names (3 to 100 us), which are short; larger transfers and listings go to threads."""


class UxStore:
    """Opens ``root``, and makes it (mode 0700) if it is absent. Owned by the server, which closes it."""

    def __init__(self, root: str, threads_max: int) -> None:
        with translated(root):
            os.makedirs(root, mode=0o700, exist_ok=True)
        self._root = HostDir.open_root(root)
        try:
            self.workshop = Workshop(self._root)
        except BaseException:
            self._root.close()
            raise
        self._threads = Threads("ux", threads_max)

    def close(self) -> None:
        """Ends the threads and what was prepared."""
        self._threads.close()
        self.workshop.close()
        self._root.close()

    def directory(self, way: Sequence[str]) -> HostDir:
        """The directory that the names lead to from the root, each opened in the one before without following
        links. The caller closes it."""
        directory = self._root.clone()
        try:
            for name in way:
                directory.enter(name)
        except BaseException:
            directory.close()
            raise
        return directory

    async def page(self, way: Sequence[str], after: str, limit: int) -> list[tuple[str, HostStat]]:
        """At most ``limit`` entries after a name, in order."""
        return await self._threads.run(self._page, way, after, limit)

    def _page(self, way: Sequence[str], after: str, limit: int) -> list[tuple[str, HostStat]]:
        found: list[tuple[str, HostStat]] = []
        with self.directory(way) as directory:
            for name in directory.names():
                if len(found) == limit:
                    break
                if name <= after or (not way and name == HIDDEN):
                    continue
                try:
                    found.append((name, directory.look(name)))
                except (serr.NotFound, serr.Perm):  # it went meanwhile, or is not shown
                    continue
        return found

    async def read(self, fd: int, offset: int, count: int, name: str) -> bytes:
        if count <= INLINE_BYTES_MAX:
            return hostfile.read(fd, offset, count, name)
        return await self._threads.run(hostfile.read, fd, offset, count, name)

    async def write(self, fd: int, offset: int, data: bytes, name: str) -> int:
        if len(data) <= INLINE_BYTES_MAX:
            return hostfile.write(fd, offset, data, name)
        return await self._threads.run(hostfile.write, fd, offset, data, name)

    async def prepare(self, data: bytes, offset: int, mode: int, name: str) -> Prepared:
        """A file that can appear whole; see Workshop. The caller drops it in the end."""
        if len(data) <= INLINE_BYTES_MAX:
            return self.workshop.prepare(data, offset, mode, name)
        made: list[Prepared] = []
        try:
            await self._threads.run(lambda: made.append(self.workshop.prepare(data, offset, mode, name)))
        except asyncio.CancelledError:
            for prepared in made:
                self.workshop.drop(prepared)
            raise
        return made[0]

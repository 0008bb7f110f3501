"""Directories: making, listing, emptying."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING

from sigmaos_ray import serr
from sigmaos_ray.fslib.makedirs import make_dirs
from sigmaos_ray.fslib.naming import about
from sigmaos_ray.fslib.part import FsPart, NeedsEntries
from sigmaos_ray.fslib.pathnames import parse
from sigmaos_ray.fslib.repeats import LOOKED
from sigmaos_ray.fslib.union import dir_pages
from sigmaos_ray.sigmap import DMDIR, NO_FENCE, OREAD, Fence, Perm, Stat, path

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection, Iterable


class DirCalls(FsPart, NeedsEntries):
    """Directory calls."""

    async def mkdir(self, pn: str, perm: Perm = 0o777) -> None:
        """Makes a directory. Exists if the name is taken; NotFound if its parent is missing."""
        with about(pn):
            fid = await self.core.create_fid(pn, DMDIR | perm, OREAD)
            fid.free()

    async def makedirs(self, pn: str, perm: Perm = 0o777) -> None:
        """Makes a directory and what is missing above it; one that is there, or a link to one, is fine. Exists, or
        NotDir, if something else stands in the way. What was made stays if it fails half-way; any number of clients
        may make the same at a time. Servers' names are not made: NotFound for a server that is not there."""
        parts, _ = parse(pn)
        with about(pn):
            await make_dirs(self.core, parts, perm, NO_FENCE)

    async def mkdir_path(self, directory: str, rel: str, perm: Perm = 0o777) -> None:
        """Makes each directory of ``rel`` below ``directory``. Those that exist are fine, but for the last: Exists."""
        parts, _ = parse(rel)
        for length in range(1, len(parts) + 1):
            try:
                await self.mkdir(path.join(directory, *parts[:length]), perm)
            except serr.Exists:
                if length == len(parts):
                    raise

    async def is_dir(self, pn: str) -> bool:
        """True for a directory; NotFound if there is nothing of that name."""
        return (await self.stat(pn)).is_dir

    async def get_dir(self, pn: str) -> list[Stat]:
        """All entries, in order of name. NotDir for what is no directory: ``pn/`` follows a link. Inval for one with
        more entries than are held in memory (``listing_entries_max``): ``scan_dir`` reads any."""

        async def once() -> list[Stat]:
            fid = await self.core.open_dir(pn)
            try:
                return await self._collected(pn, dir_pages(fid, self.core.config))
            finally:
                fid.free()

        with about(pn):
            return await self.core.repeats.call(once, LOOKED)

    async def _collected(self, pn: str, pages: AsyncIterator[list[Stat]]) -> list[Stat]:
        stats: list[Stat] = []
        entries_max = self.core.config.wire.listing_entries_max
        async for page in pages:
            stats.extend(page)
            if len(stats) > entries_max:
                raise serr.Inval(pn, f"over {entries_max} entries: read them with scan_dir")
        return stats

    async def scan_dir(self, pn: str) -> AsyncIterator[Stat]:
        """The entries one by one, read page by page; those that are there all along come exactly once, in order."""
        async for page in self.scan_dir_pages(pn):
            for stat in page:
                yield stat

    async def scan_dir_pages(self, pn: str) -> AsyncGenerator[list[Stat], None]:
        """Like ``scan_dir``, a page at a time, as the server sends them."""
        with about(pn):
            fid = await self.core.open_dir(pn)
            try:
                async for page in dir_pages(fid, self.core.config):
                    yield page
            finally:
                fid.free()

    async def process_dir(self, pn: str, visit: Callable[[Stat], bool | Awaitable[bool]]) -> bool:
        """Hands ``visit`` each entry, in order of name, until it returns true; tells whether it did. Its errors
        end the walk and are raised."""
        for stat in await self.get_dir(pn):
            stop = visit(stat)
            if inspect.isawaitable(stop):
                stop = await stop
            if stop:
                return True
        return False

    async def sprint_dir(self, pn: str) -> str:
        """What is below a directory, a line each, indented: for people who look for something. Links are not
        followed."""
        lines = [pn]
        await self._sprint_below(pn, 1, lines)
        return "\n".join(lines) + "\n"

    async def _sprint_below(self, pn: str, depth: int, lines: list[str]) -> None:
        for stat in await self.get_dir(pn):
            lines.append("  " * depth + _described(stat))
            if stat.is_dir:
                try:
                    await self._sprint_below(path.join(pn, stat.name), depth + 1, lines)
                except serr.NotFound:  # removed while we looked
                    lines.append("  " * (depth + 1) + "(gone)")

    async def rmdir(self, pn: str) -> None:
        """Removes a directory and all below it; links inside are removed, never followed. NotDir for a file. Inval for
        what cannot be removed, ``.`` or the root of a server, before anything is."""
        fences = self.core.fences
        parts, resolve = parse(pn)
        with about(pn):
            if len(parts) < 2 or parts[-1] == "." or (resolve and await self.core.is_server_root(parts)):
                raise serr.Inval(pn, "what is no entry of a directory cannot be removed")
            fid = await self.core.open_dir(pn)
            # One request carries one fence: where entries below have others, they go one by one.
            if fid.removes_all and not fences.has_below(pn):
                await fid.remove(self.core.fence_of(parts, fid.way), everything=True)
                return
            try:
                stats = await self._collected(pn, dir_pages(fid, self.core.config))
            finally:
                fid.free()
        await self._remove_entries(pn, stats)
        try:
            await self.remove(pn)
        except serr.NotFound:
            # A prefix in S3 goes with its last key; anywhere else somebody was quicker. A directory that was missing
            # from the start never comes here: its listing raises.
            return

    async def rmdir_entries(self, pn: str) -> None:
        """Empties a directory, several entries at a time. What others remove at the same time is not missed."""
        await self._remove_entries(pn, await self.get_dir(pn))

    async def _remove_entries(self, pn: str, stats: list[Stat]) -> None:
        base = pn.rstrip("/")
        count = self.core.config.streams.removes_in_flight
        for start in range(0, len(stats), count):
            some = stats[start : start + count]
            # All of them end before the first error is raised: none goes on behind the caller's back.
            outcomes = await asyncio.gather(
                *(self._remove_all(f"{base}/{stat.name}", stat) for stat in some), return_exceptions=True
            )
            for error in filter(None, outcomes):
                raise error

    async def _remove_all(self, pn: str, stat: Stat) -> None:
        try:
            await (self.rmdir(pn) if stat.is_dir else self.remove(pn))
        except serr.NotFound:
            return

    async def move_dir_entries(self, src: str, dst: str) -> int:
        """Renames each entry of one directory into another one of the same server; returns how many. Stops at the
        first failure: what was moved stays moved."""
        count = 0
        for stat in await self.get_dir(src):
            await self.rename(path.join(src, stat.name), path.join(dst, stat.name))
            count += 1
        return count

    async def fence_dir(self, directory: str, fence: Fence) -> None:
        """From now on this client's changes below ``directory``, by whichever pathname, carry ``fence``; an empty fence
        takes it off. The directory's links and unions are followed first, and their server asked."""
        with about(directory):
            await self.core.fence_dir(path.split(directory), fence)


def names(stats: Iterable[Stat]) -> list[str]:
    """The names of entries."""
    return [stat.name for stat in stats]


def present(stats: Iterable[Stat], wanted: Collection[str]) -> bool:
    """True if all names occur among the entries."""
    return set(wanted) <= {stat.name for stat in stats}


def _described(stat: Stat) -> str:
    kind = "/" if stat.is_dir else "@" if stat.is_endpoint or stat.is_symlink else ""
    return f"{stat.name}{kind}" if stat.is_dir else f"{stat.name}{kind} {stat.length}"

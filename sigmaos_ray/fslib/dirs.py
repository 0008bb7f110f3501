"""Directories: making, listing, emptying."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Final

from sigmaos_ray import serr
from sigmaos_ray.fslib.base import is_lost
from sigmaos_ray.fslib.files import Files
from sigmaos_ray.fslib.naming import about
from sigmaos_ray.fslib.union import dir_pages
from sigmaos_ray.sigmap import DMDIR, OREAD, Fence, Perm, Stat, path

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection, Iterable

    from sigmaos_ray.fslib.fidclnt import RemoteFid

REMOVES_IN_FLIGHT: Final = 32


class Dirs(Files):
    """Directory calls."""

    async def mkdir(self, pn: str, perm: Perm = 0o777) -> None:
        """Makes a directory. Exists if the name is taken; NotFound if its parent is missing."""
        with about(pn):
            fid = await self._create_fid(pn, DMDIR | perm, OREAD)
            await fid.clunk_quietly()

    async def mkdir_path(self, directory: str, rel: str, perm: Perm = 0o777) -> None:
        """Makes each directory of ``rel`` below ``directory``. Those that exist are fine, but for the last: Exists."""
        parts, _ = self._split(rel)
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
        with about(pn):
            for is_last in (False, True):
                fid = await self._open_dir(pn)
                try:
                    return await self._collected(pn, dir_pages(fid, self._config))
                except serr.SigmaError as error:
                    if is_last or self.is_closed or not is_lost(error):
                        raise
                finally:
                    await fid.clunk_quietly()
        raise AssertionError("unreachable: the last try returns or raises")

    async def _collected(self, pn: str, pages: AsyncIterator[list[Stat]]) -> list[Stat]:
        stats: list[Stat] = []
        entries_max = self._config.wire.listing_entries_max
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
            fid = await self._open_dir(pn)
            try:
                async for page in dir_pages(fid, self._config):
                    yield page
            finally:
                await fid.clunk_quietly()

    async def _open_dir(self, pn: str) -> RemoteFid:
        """Walks once more if the server is lost between the walk and the open."""
        parts, resolve = self._split(pn)
        for is_last in (False, True):
            fid = await self._walker.walk(parts, resolve=resolve)
            try:
                qid = await fid.open(OREAD)
                if not qid.is_dir:
                    raise serr.NotDir(pn)
                return fid
            except BaseException as error:  # a cancellation too: the fid is freed, and it goes on
                await fid.clunk_quietly()
                if is_last or self.is_closed or not is_lost(error):
                    raise
        raise AssertionError("unreachable: the last try returns or raises")

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
        """Removes a directory and all below it; links inside are removed, never followed. NotDir for a file."""
        with about(pn):
            fid = await self._open_dir(pn)
            if fid.removes_all and not self._has_fences_below(pn):
                await fid.remove(self.fence_of(pn), everything=True)
                return
            try:
                stats = await self._collected(pn, dir_pages(fid, self._config))
            finally:
                await fid.clunk_quietly()
        await self._remove_entries(pn, stats)
        try:
            await self.remove(pn)
        except serr.NotFound:
            # A prefix in S3 goes with its last key; anywhere else somebody was quicker. NotFound at the start is told
            # by the listing.
            return

    def _has_fences_below(self, pn: str) -> bool:
        parts = path.split(pn)
        below = (path.split(fenced) for fenced in self._fences)
        return any(len(fenced) > len(parts) and fenced[: len(parts)] == parts for fenced in below)

    async def rmdir_entries(self, pn: str) -> None:
        """Empties a directory, several entries at a time. What others remove at the same time is not missed."""
        await self._remove_entries(pn, await self.get_dir(pn))

    async def _remove_entries(self, pn: str, stats: list[Stat]) -> None:
        base = pn.rstrip("/")
        for start in range(0, len(stats), REMOVES_IN_FLIGHT):
            some = stats[start : start + REMOVES_IN_FLIGHT]
            done = await asyncio.gather(
                *(self._remove_all(f"{base}/{stat.name}", stat) for stat in some), return_exceptions=True
            )
            for error in filter(None, done):
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

    async def resolve_unions(self, pn: str) -> str:
        """``pn`` with each ``~any`` and ``~local`` replaced by the entry it stands for now."""
        parts, resolve = self._split(pn)
        with about(pn):
            return "/".join(await self._walker.resolve_unions(parts)) + ("/" if resolve else "")

    async def fence_dir(self, directory: str, fence: Fence) -> None:
        """From now on this client's changes below ``directory`` carry ``fence``; an empty fence takes it off."""
        key = "/".join(path.split(directory))
        if fence:
            self._fences[key] = fence
        else:
            self._fences.pop(key, None)


def names(stats: Iterable[Stat]) -> list[str]:
    """The names of entries."""
    return [stat.name for stat in stats]


def present(stats: Iterable[Stat], wanted: Collection[str]) -> bool:
    """True if all names occur among the entries."""
    return set(wanted) <= {stat.name for stat in stats}


def _described(stat: Stat) -> str:
    kind = "/" if stat.is_dir else "@" if stat.is_endpoint or stat.is_symlink else ""
    return f"{stat.name}{kind}" if stat.is_dir else f"{stat.name}{kind} {stat.length}"

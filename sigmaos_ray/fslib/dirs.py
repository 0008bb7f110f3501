"""Directories: making, listing, emptying."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Final

from sigmaos_ray import serr
from sigmaos_ray.fslib.makedirs import make_dirs
from sigmaos_ray.fslib.naming import about
from sigmaos_ray.fslib.part import FsPart, NeedsEntries
from sigmaos_ray.fslib.pathnames import parse
from sigmaos_ray.fslib.repeats import NEVER_RAN
from sigmaos_ray.fslib.treeremoval import DirectoryPlace, TreeRemoval
from sigmaos_ray.fslib.union import dir_pages
from sigmaos_ray.sigmap import DMDIR, NO_FENCE, OREAD, Fence, Perm, Stat, path

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection, Iterable

    from sigmaos_ray.fslib.fidclnt import RemoteFid

_NO_ENTRY: Final = "what is no entry of a directory cannot be removed"


class DirCalls(FsPart, NeedsEntries):
    """Directory calls."""

    async def mkdir(self, pn: str, perm: Perm = 0o777) -> None:
        """Makes a directory. Exists if the name is taken; NotFound if its parent is missing, except on S3, where
        directories come with what is below them."""
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
        """All entries, in order of name, as they were at one moment; of changes that do not come through its server, as
        by the host's programs or in S3, nothing is known. NotDir for what is no directory: ``pn/`` follows a link.
        Version for one of more than a message (4096 entries) that changes each time that it is read, Inval for one with
        more than are held in memory (``listing_entries_max``): ``scan_dir`` reads any."""

        with about(pn):
            return await self.core.list_dir(pn, at_once=True)

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
        what cannot be removed, ``.`` or the root of a server, and NoRemove for a directory of the instance's own, such
        as ``name/ux``, before anything is. NotEmpty if something came, or was
        put in the place of what was there, meanwhile: that stays."""
        parts, _ = parse(pn)
        if len(parts) < 2 or parts[-1] == ".":
            raise serr.Inval(pn, _NO_ENTRY)
        is_begun = False

        async def once() -> None:
            nonlocal is_begun
            try:
                with about(pn):
                    fid = await self.core.open_dir(pn)
                if fid.is_root:
                    fid.free()
                    raise serr.Inval(pn, _NO_ENTRY)
                _check_goes(fid, pn)
                is_begun = True
                await TreeRemoval(self.core).directory(fid, DirectoryPlace(pn, parts, fid.way or parts))
            except serr.NotFound:
                # A prefix in S3 goes with its last key; anywhere else somebody was quicker.
                if not is_begun:
                    raise

        await self.core.repeats.call(once, NEVER_RAN)

    async def rmdir_entries(self, pn: str) -> None:
        """Empties a directory, several entries at a time. What others remove at the same time is not missed; what
        comes meanwhile stays. NoRemove for ``name/`` and the instance's own directories."""
        parts, _ = parse(pn)

        async def once() -> None:
            with about(pn):
                fid = await self.core.open_dir(pn)
            _check_goes(fid, pn)
            try:
                await TreeRemoval(self.core).entries(fid, DirectoryPlace(pn, parts, fid.way or parts))
            finally:
                fid.free()

        await self.core.repeats.call(once, NEVER_RAN)

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
        parts, _ = parse(directory)
        with about(directory):
            await self.core.fence_dir(parts, fence)


def _check_goes(fid: RemoteFid, pn: str) -> None:
    """Before anything below is removed: NoRemove for an open directory that its server keeps."""
    if fid.stays:
        fid.free()
        raise serr.NoRemove(pn, "the instance keeps the names of its services there")


def names(stats: Iterable[Stat]) -> list[str]:
    """The names of entries."""
    return [stat.name for stat in stats]


def present(stats: Iterable[Stat], wanted: Collection[str]) -> bool:
    """True if all names occur among the entries."""
    return set(wanted) <= {stat.name for stat in stats}


def _described(stat: Stat) -> str:
    kind = "/" if stat.is_dir else "@" if stat.is_endpoint or stat.is_symlink else ""
    return f"{stat.name}{kind}" if stat.is_dir else f"{stat.name}{kind} {stat.length}"

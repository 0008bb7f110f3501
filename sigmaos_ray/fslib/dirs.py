"""Directories: making, listing, emptying (section F)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sigmaos_ray import serr
from sigmaos_ray.fslib.files import Files
from sigmaos_ray.fslib.naming import about
from sigmaos_ray.sessp import wire
from sigmaos_ray.sigmap import DMDIR, OREAD, Fence, Perm, Stat, path

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sigmaos_ray.fslib.fidclnt import RemoteFid


class Dirs(Files):
    """Directory calls."""

    async def mkdir(self, pn: str, perm: Perm = 0o777) -> None:
        """Makes a directory. Exists if the name is taken; NotFound if its parent is missing."""
        with about(pn):
            fid = await self._create_fid(pn, DMDIR | perm, OREAD)
            await fid.clunk_quietly()

    async def is_dir(self, pn: str) -> bool:
        """True for a directory; NotFound if there is nothing of that name."""
        return (await self.stat(pn)).is_dir

    async def get_dir(self, pn: str) -> list[Stat]:
        """All entries, in order of name. NotDir for what is no directory: ``pn/`` follows a link."""
        return [stat async for page in self.scan_dir_pages(pn) for stat in page]

    async def scan_dir(self, pn: str) -> AsyncIterator[Stat]:
        """The entries one by one, read page by page; those that are there all along come exactly once, in order."""
        async for page in self.scan_dir_pages(pn):
            for stat in page:
                yield stat

    async def scan_dir_pages(self, pn: str) -> AsyncIterator[list[Stat]]:
        """Like ``scan_dir``, a page at a time, as the server sends them."""
        with about(pn):
            fid = await self._open_dir(pn)
            try:
                while data := await fid.read(0, self._config.wire.io_bytes_max):
                    yield list(wire.unpack_dir(data))
            finally:
                await fid.clunk_quietly()

    async def _open_dir(self, pn: str) -> RemoteFid:
        parts, resolve = self._split(pn)
        fid = await self._walker.walk(parts, resolve=resolve)
        try:
            qid = await fid.open(OREAD)
            if not qid.is_dir:
                raise serr.NotDir(pn)
        except BaseException:
            await fid.clunk_quietly()
            raise
        return fid

    async def rmdir(self, pn: str) -> None:
        """Removes a directory and all below it; links inside are removed, never followed. NotDir for a file."""
        await self.rmdir_entries(pn)
        try:
            await self.remove(pn)
        except serr.NotFound:
            # A prefix in S3 goes with its last key; anywhere else somebody was quicker. NotFound at the start is told
            # by the listing.
            return

    async def rmdir_entries(self, pn: str) -> None:
        """Empties a directory. What others remove at the same time is not missed."""
        base = pn.rstrip("/")
        for stat in await self.get_dir(pn):
            child = f"{base}/{stat.name}"
            try:
                if stat.is_dir:
                    await self.rmdir(child)
                else:
                    await self.remove(child)
            except serr.NotFound:
                continue

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

"""Whole files: reading, writing, copying, to and from local disks."""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING, Any

from fsspec.callbacks import DEFAULT_CALLBACK
from fsspec.utils import isfilelike

from sigmaos_ray import serr
from sigmaos_ray.fslib.buffers import octets
from sigmaos_ray.fsspec import entries, transfer
from sigmaos_ray.fsspec.bridge import on_client_loop
from sigmaos_ray.fsspec.part import FsspecPart
from sigmaos_ray.fsspec.ranges import read_range
from sigmaos_ray.fsspec.writefiles import PipedFile
from sigmaos_ray.sigmap import OEXCL, OREAD, OWRITE, Mode

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sigmaos_ray.fsspec.entries import Entry

Range = tuple[int | None, int | None]


class ContentCalls(FsspecPart):
    """Calls on the contents of whole files."""

    # -- reading

    async def _cat_file(self, path: str, start: int | None = None, end: int | None = None, **kwargs: Any) -> bytes:
        path = self._strip_protocol(path)
        if start is None and end is None:
            return await self._read_whole(path)
        (part,) = await self._read_ranges(path, [(start, end)])
        return part

    @on_client_loop
    async def _read_whole(self, path: str) -> bytes:
        return await self._sc.get_file(entries.followed(path))

    @on_client_loop
    async def _read_ranges(self, path: str, ranges: Sequence[Range]) -> list[bytes]:
        """Parts of one file, through one descriptor."""
        sc = self._sc
        if any((start or 0) < 0 or end is None or end < 0 for start, end in ranges):
            size = int((await sc.stat(entries.followed(path))).length)
            spans = [entries.byte_range(start, end, size) for start, end in ranges]
        else:
            # Offsets from the beginning need no size: a read ends where the file does.
            spans = [entries.byte_range(start, end, end or 0) for start, end in ranges]
        fd = await sc.open(entries.followed(path), OREAD)
        try:
            return await self._together(read_range(sc, fd, offset, count) for offset, count in spans)
        finally:
            await sc.close_fd(fd)

    async def _cat_ranges(
        self,
        paths: list[str],
        starts: Any,
        ends: Any,
        max_gap: int | None = None,
        batch_size: int | None = None,
        on_error: str = "return",
        **kwargs: Any,
    ) -> list[Any]:
        """All ranges of one file through one opening of it; an error of a file stands for each of its ranges.
        ``max_gap``, a hint to merge ranges that are near, changes nothing: they share messages as they are."""
        if not isinstance(paths, list):
            raise TypeError(f"paths is a list, not {type(paths).__name__}")
        ranges = list(zip(_for_each(starts, len(paths)), _for_each(ends, len(paths)), strict=True))
        if len(ranges) != len(paths):
            raise ValueError(f"{len(paths)} paths, {len(ranges)} ranges")
        places: dict[str, list[int]] = {}
        for place, path in enumerate(self._strip_protocol(paths)):
            places.setdefault(path, []).append(place)

        async def parts_of(path: str) -> list[Any]:
            try:
                return list(await self._read_ranges(path, [ranges[place] for place in places[path]]))
            except (OSError, serr.SigmaError) as error:
                if on_error != "return":
                    raise
                return [error] * len(places[path])

        results: list[Any] = [None] * len(paths)
        for path, parts in zip(places, await self._together(map(parts_of, places), batch_size), strict=True):
            for place, part in zip(places[path], parts, strict=True):
                results[place] = part
        return results

    async def _cat(
        self,
        path: Any,
        recursive: bool = False,
        on_error: str = "raise",
        batch_size: int | None = None,
        **kwargs: Any,
    ) -> Any:
        """Many files at once: up to ``batch_size`` calls are under way, and share messages."""
        paths = await self._expand_path(path, recursive=recursive)
        many = len(paths) > 1 or isinstance(path, list) or paths[0] != self._strip_protocol(path)
        if not many:
            return await self._cat_or_error(paths[0], on_error, **kwargs)
        if recursive:
            paths = await self._without_dirs(paths)
        contents = await self._together((self._cat_or_error(name, on_error, **kwargs) for name in paths), batch_size)
        return {
            name: data
            for name, data in zip(paths, contents, strict=True)
            if on_error != "omit" or not isinstance(data, BaseException)
        }

    async def _without_dirs(self, paths: list[str]) -> list[str]:
        are_dirs = await self._together(self._isdir(path) for path in paths)
        return [path for path, is_dir in zip(paths, are_dirs, strict=True) if not is_dir]

    async def _cat_or_error(self, path: str, on_error: str, **kwargs: Any) -> bytes | BaseException:
        try:
            return await self._cat_file(path, **kwargs)
        except (OSError, serr.SigmaError) as error:
            if on_error == "raise":
                raise
            return error

    # -- writing

    async def _pipe_file(self, path: str, value: Any, mode: str = "overwrite", **kwargs: Any) -> None:
        """``mode="create"``: the file must not exist. In a transaction it shows at the end of that."""
        path = self._strip_protocol(path)
        flags = _flags_of(mode)
        if self._intrans:
            self.transaction.files.append(PipedFile(self, path, octets(value), "xb" if flags else "wb"))
            return
        await self._write_whole(path, value, flags)

    def put_whole(self, path: str, data: bytes | bytearray, flags: Mode) -> None:
        """Makes or replaces a file, at once, also in a transaction."""
        self.run(self._write_whole(path, data, flags))

    @on_client_loop
    async def _write_whole(self, path: str, value: Any, flags: Mode = 0) -> None:
        data = octets(value)
        target = entries.written(path, flags)

        async def put() -> int:
            if len(data) > self._sc.read_bytes_max and not flags:
                with contextlib.suppress(serr.NotSupported):  # a leased file, a pipe: written where it is
                    return await self._sc.put_file_atomic(target, data)
            return await self._sc.put_file(target, data, mode=OWRITE | flags)

        await self._with_parents(path, put, make=self.auto_mkdir)

    async def _touch(self, path: str, truncate: bool = True, **kwargs: Any) -> None:
        """Makes an empty file, or empties one. NotSupported for ``truncate=False`` where there is one: sigmap sets no
        times."""
        path = self._strip_protocol(path)
        try:
            await self._write_whole(path, b"", 0 if truncate else OEXCL)
        except serr.Exists as error:
            if truncate:
                raise
            raise serr.NotSupported(path, "it exists, and sigmap has no call that sets times") from error

    # -- from one place to another

    async def _get_file(self, rpath: str, lpath: Any, callback: Any = DEFAULT_CALLBACK, **kwargs: Any) -> None:
        rpath = self._strip_protocol(rpath)
        await self._fetch(rpath, lpath, callback)

    @on_client_loop
    async def _fetch(self, rpath: str, lpath: Any, callback: Any) -> None:
        source = await self._info(rpath)
        if isfilelike(lpath):
            await transfer.download_to(self._sc, source, lpath, callback)
        elif source["type"] == "directory":
            await asyncio.to_thread(os.makedirs, lpath, exist_ok=True)
        else:
            await transfer.download(self._sc, source, os.fspath(lpath), callback)

    async def _put_file(
        self, lpath: str, rpath: str, mode: str = "overwrite", callback: Any = DEFAULT_CALLBACK, **kwargs: Any
    ) -> None:
        """Directories above ``rpath`` are made if they are missing."""
        rpath = self._strip_protocol(rpath)
        if await asyncio.to_thread(os.path.isdir, lpath):
            await self._makedirs(rpath, exist_ok=True)
        else:
            await self._store(os.fspath(lpath), rpath, _flags_of(mode), callback)

    @on_client_loop
    async def _store(self, lpath: str, rpath: str, flags: Mode, callback: Any) -> None:
        await self._with_parents(rpath, lambda: transfer.upload(self._sc, lpath, rpath, flags, callback), make=True)

    async def _cp_file(self, path1: str, path2: str, **kwargs: Any) -> None:
        """Copies a file, or makes the directory; directories above ``path2`` are made if they are missing."""
        path1, path2 = self._strip_protocol(path1), self._strip_protocol(path2)
        source = await self._info(path1)
        if source["type"] == "directory":
            await self._makedirs(path2, exist_ok=True)
        elif path1 != path2:
            await self._copy_file(source, path2)

    @on_client_loop
    async def _copy_file(self, source: Entry, target: str) -> None:
        await self._with_parents(target, lambda: transfer.copy(self._sc, source, target), make=True)


def _flags_of(mode: str) -> Mode:
    if mode not in ("overwrite", "create"):
        raise serr.Inval(mode, "the mode of a write is 'overwrite' or 'create'")
    return OEXCL if mode == "create" else 0


def _for_each(limits: Any, count: int) -> Iterable[int | None]:
    return [limits] * count if limits is None or isinstance(limits, int) else limits

"""Directories: making them, listing them, and what lies below."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sigmaos_ray import serr
from sigmaos_ray.fsspec import entries
from sigmaos_ray.fsspec.bridge import on_client_loop
from sigmaos_ray.fsspec.part import FsspecPart
from sigmaos_ray.sigmap import NAMED, Stat
from sigmaos_ray.sigmap import path as paths

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sigmaos_ray.fsspec.entries import Entry


class DirectoryCalls(FsspecPart):
    """Making and reading directories."""

    # -- making

    async def _mkdir(self, path: str, create_parents: bool = True, **kwargs: Any) -> None:
        path = self._strip_protocol(path)
        if entries.is_top(path):
            raise serr.Exists(path)
        if not create_parents:
            await self._info(paths.dirname(path))  # NotFound also on S3, where directories come with what is in them
        await self._with_parents(path, lambda: self._make(path), make=create_parents)

    @on_client_loop
    async def _make(self, path: str) -> None:
        await self._sc.mkdir(path)

    async def _makedirs(self, path: str, exist_ok: bool = False) -> None:
        path = self._strip_protocol(path)
        if not exist_ok:
            await self._mkdir(path)
        elif not entries.is_top(path):
            await self._ensure(path)

    @on_client_loop
    async def _ensure(self, path: str) -> None:
        await self._dir_maker.ensure(self._sc, path)

    # -- listing

    async def _ls(self, path: str, detail: bool = True, **kwargs: Any) -> list[Any]:
        """In order of name; of a file, its own entry. A link that leads nowhere has the type ``link``."""
        path = self._strip_protocol(path)
        listing = await self._list(path) if path else [await self._info(NAMED)]
        return listing if detail else [entry["name"] for entry in listing]

    @on_client_loop
    async def _list(self, path: str) -> list[Entry]:
        try:
            stats = await self._sc.core.list_dir(entries.followed(path), at_once=False)
        except serr.NotDir:
            return [await self._info(path)]
        links = [stat for stat in stats if stat.is_symlink]
        targets = await self._together(self._target(f"{path}/{link.name}") for link in links)
        return _entries(path, stats, dict(zip(links, targets, strict=True)))

    async def _target(self, link: str) -> Stat | None:
        try:
            return await self._sc.stat(entries.followed(link))
        except serr.SigmaError:  # whatever is wrong with it, the listing of its directory is not
            return None

    async def _walk(
        self, path: str, maxdepth: int | None = None, topdown: bool = True, on_error: Any = "omit", **kwargs: Any
    ) -> AsyncIterator[tuple[str, Any, Any]]:
        """Directories one after the other, so that the caller may take out of ``dirs`` what it does not want."""
        _check_depth(maxdepth)
        path = self._strip_protocol(path)
        dirs, files = await self._sorted_out(path, on_error)
        item: tuple[str, Any, Any] = (path, dirs, files)
        if not kwargs.get("detail", False):
            item = (path, list(dirs), list(files))
        if topdown:
            yield item
        if maxdepth is None or maxdepth > 1:
            depth = None if maxdepth is None else maxdepth - 1
            # Of the item: who was given it may have taken out what is to be left alone.
            for name in list(item[1]) if topdown else list(dirs):
                entry = dirs.get(name)
                if entry is not None and _goes_through(entry, maxdepth):
                    async for below in self._walk(entry["name"], depth, topdown, on_error, **kwargs):
                        yield below
        if not topdown:
            yield item

    async def _sorted_out(self, path: str, on_error: Any) -> tuple[dict[str, Entry], dict[str, Entry]]:
        """Directories and files in a directory, by name; a file has itself below the empty name."""
        listing = await self._listing(path, on_error)
        below = {entry["name"].rpartition("/")[2]: entry for entry in listing if entry["name"] != path}
        dirs = {name: entry for name, entry in below.items() if entry["type"] == "directory"}
        files = {name: entry for name, entry in below.items() if entry["type"] != "directory"}
        if listing and not below:
            files[""] = listing[0]
        return dirs, files

    async def _listing(self, path: str, on_error: Any) -> list[Entry]:
        """``on_error``, as fsspec has it, says what becomes of a directory that cannot be listed."""
        try:
            return await self._ls(path)
        except OSError as error:
            if on_error == "raise":
                raise
            if callable(on_error):
                on_error(error)
            return []

    async def _find(
        self, path: str, maxdepth: int | None = None, withdirs: bool = False, detail: bool = False, **kwargs: Any
    ) -> Any:
        """All directories of one depth are read together."""
        _check_depth(maxdepth)
        path = self._strip_protocol(path)
        matches: dict[str, Entry] = {}
        if withdirs and path and (root := await self._dir_or_none(path)) is not None:
            matches[path] = root
        level = [path]
        depth = 0
        while level and (maxdepth is None or depth < maxdepth):
            listings = await self._together(self._ls_or_nothing(directory) for directory in level)
            level = []
            depth += 1
            for entry in (entry for listing in listings for entry in listing):
                is_dir = entry["type"] == "directory"
                if withdirs or not is_dir:
                    matches[entry["name"]] = entry
                if is_dir and _goes_through(entry, maxdepth):
                    level.append(entry["name"])
        names = sorted(matches)
        return {name: matches[name] for name in names} if detail else names

    async def _dir_or_none(self, path: str) -> Entry | None:
        try:
            entry = await self._info(path)
        except (serr.NotFound, serr.NotDir):
            return None
        return entry if entry["type"] == "directory" else None

    async def _ls_or_nothing(self, path: str) -> list[Any]:
        try:
            return await self._ls(path)
        except OSError:  # as fsspec's own: what cannot be listed has nothing in it
            return []

    async def _du(
        self, path: str, total: bool = True, maxdepth: int | None = None, withdirs: bool = False, **kwargs: Any
    ) -> Any:
        matches = await self._find(path, maxdepth=maxdepth, withdirs=withdirs, detail=True)
        sizes = {name: entry["size"] or 0 for name, entry in matches.items()}
        return sum(sizes.values()) if total else sizes


def _entries(directory: str, stats: list[Stat], targets: dict[Stat, Stat | None]) -> list[Entry]:
    """``targets``: where the links among ``stats`` lead, if anywhere."""
    listing = []
    for stat in stats:
        pathname = f"{directory}/{stat.name}"
        if stat.is_symlink:
            listing.append(entries.link_to(pathname, stat, targets[stat]))
        else:
            listing.append(entries.entry_of(pathname, stat))
    return listing


def _check_depth(maxdepth: int | None) -> None:
    if maxdepth is not None and maxdepth < 1:
        raise ValueError(f"maxdepth is at least 1, not {maxdepth}")


def _goes_through(directory: Entry, maxdepth: int | None) -> bool:
    """Whether what lies below is part of it: without a limit of depth, not through a symbolic link, which may lead
    back."""
    return maxdepth is not None or not directory.get("islink")

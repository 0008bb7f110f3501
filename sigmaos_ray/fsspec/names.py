"""Names: removing and moving."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fsspec.implementations.local import trailing_sep
from fsspec.spec import has_magic

from sigmaos_ray import serr
from sigmaos_ray.fsspec import entries
from sigmaos_ray.fsspec.bridge import on_client_loop
from sigmaos_ray.fsspec.contents import Contents
from sigmaos_ray.sigmap import path as paths

if TYPE_CHECKING:
    from collections.abc import Iterable


class Names(Contents):
    """Calls that take names away."""

    # -- removing

    async def _rm_file(self, path: str, **kwargs: Any) -> None:
        """A file, a link itself, or an empty directory."""
        await self._remove(_removable(self._strip_protocol(path)))

    @on_client_loop
    async def _remove(self, path: str) -> None:
        await self._sc.remove(path)

    async def _rmdir(self, path: str) -> None:
        """NotEmpty for a full directory, NotDir for a file."""
        path = _removable(self._strip_protocol(path))
        if not await self._isdir(path):
            raise serr.NotDir(path) if await self._exists(path) else serr.NotFound(path)
        await self._remove(path)

    async def _rm(
        self,
        path: Any,
        recursive: bool = False,
        batch_size: int | None = None,
        maxdepth: int | None = None,
        **kwargs: Any,
    ) -> None:
        """What is named, many at a time; ``recursive`` with all below it. Links are removed, never followed."""
        if maxdepth is not None:
            await self._rm_groups(await self._expand_path(path, recursive=recursive, maxdepth=maxdepth), batch_size)
            return
        asked = [path] if isinstance(path, str) else list(path)
        found: list[str] = []
        for name in asked:
            found += await self._glob(name) if has_magic(name) else [self._strip_protocol(name)]
        if not found:
            raise serr.NotFound(path if isinstance(path, str) else ", ".join(map(str, asked)))
        if recursive:
            await self._together((self._rm_tree(name) for name in entries.topmost(found)), batch_size)
        else:
            await self._rm_groups(found, batch_size)

    async def _rm_groups(self, names: Iterable[str], batch_size: int | None) -> None:
        for group in entries.by_depth(names):
            await self._together((self._rm_file(name) for name in group), batch_size)

    @on_client_loop
    async def _rm_tree(self, path: str) -> None:
        try:
            await self._sc.remove(_removable(path))
        except serr.NotEmpty:
            await self._sc.rmdir(path)

    # -- moving

    async def _mv(
        self, path1: Any, path2: Any, recursive: bool = False, maxdepth: int | None = None, **kwargs: Any
    ) -> None:
        """On one server a rename, in one moment, of files and directories alike. Across servers, and in S3, what is
        moved is copied and then removed. Into ``path2`` if that is a directory; directories above it are made."""
        if maxdepth is not None or not isinstance(path1, str) or not isinstance(path2, str) or has_magic(path1):
            if path1 != path2:
                await self._copy(path1, path2, recursive=recursive, maxdepth=maxdepth, on_error="raise")
                await self._rm(path1, recursive=recursive)
            return
        source, target = self._strip_protocol(path1), self._strip_protocol(path2)
        if source == target:
            return
        if trailing_sep(path2):
            await self._makedirs(target, exist_ok=True)
        if await self._isdir(target):
            target = f"{target}/{paths.basename(source)}"
        if entries.is_below(target, source):
            raise serr.Inval(target, f"lies in {source}, which is moved")
        try:
            renamed = await self._renamed(source, target)
        except serr.NotFound:
            await self._check_there(source)  # then it is the directory above the target that is missing
            await self._makedirs(self._parent(target), exist_ok=True)
            renamed = await self._renamed(source, target)
        if not renamed:
            await self._carry(source, target)

    @on_client_loop
    async def _check_there(self, path: str) -> None:
        """NotFound if nothing has that name, not even a link that leads nowhere."""
        await self._sc.stat(path)

    @on_client_loop
    async def _renamed(self, source: str, target: str) -> bool:
        """False where there is no rename: across servers, or on one that has none."""
        sc = self._sc
        try:
            await sc.rename(source, target)
        except serr.NotSupported:
            return False
        except serr.Inval:
            if await sc.server_of(source) == await sc.server_of(target):
                raise
            return False
        return True

    async def _carry(self, source: str, target: str) -> None:
        is_dir = await self._isdir(source)
        if is_dir and await self._exists(target):
            raise serr.Exists(target)
        if is_dir:
            await self._copy(source, target, recursive=True, on_error="raise")
        else:
            await self._cp_file(source, target)
        await self._rm(source, recursive=is_dir)


def _removable(path: str) -> str:
    """Inval for what a name stands for only as long as a union says so, and for the root."""
    if entries.is_top(path) or paths.is_union(paths.basename(path)):
        raise serr.Inval(path, "cannot be removed: name one of its entries")
    return path

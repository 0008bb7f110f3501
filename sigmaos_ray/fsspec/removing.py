"""Removing what has a name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sigmaos_ray import serr
from sigmaos_ray.fsspec import entries
from sigmaos_ray.fsspec.bridge import on_client_loop
from sigmaos_ray.fsspec.part import FsspecPart
from sigmaos_ray.sigmap import path as paths

if TYPE_CHECKING:
    from collections.abc import Iterable


class RemoveCalls(FsspecPart):
    """Calls that take names away. Links are removed themselves, never followed."""

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
        """What is named, many at a time; ``recursive`` with all below it. NotFound if patterns match nothing. What was
        removed before an error is gone."""
        if maxdepth is not None:
            await self._rm_groups(await self._expand_path(path, recursive=recursive, maxdepth=maxdepth), batch_size)
            return
        patterns = [path] if isinstance(path, str) else list(path)
        names: list[str] = []
        for pattern in patterns:
            is_name = await self._is_name(pattern)
            names += [self._strip_protocol(pattern)] if is_name else await self._glob(pattern)
        if not names:
            raise serr.NotFound(path if isinstance(path, str) else ", ".join(map(str, patterns)))
        if recursive:
            # Trees side by side, so none may lie in another one: it would be removed under the other's hands.
            await self._together((self._rm_tree(name) for name in entries.topmost(names)), batch_size)
        else:
            await self._rm_groups(names, batch_size)

    async def _rm_groups(self, names: Iterable[str], batch_size: int | None) -> None:
        for group in entries.by_depth(names):
            await self._together((self._rm_file(name) for name in group), batch_size)

    @on_client_loop
    async def _rm_tree(self, path: str) -> None:
        # One message for a file, a link and an empty directory; only NotEmpty tells that there is more to do.
        try:
            await self._sc.remove(_removable(path))
        except serr.NotEmpty:
            await self._sc.rmdir(path)


def _removable(path: str) -> str:
    """Inval for what a name stands for only as long as a union says so, and for the root."""
    if entries.is_top(path) or paths.is_union(paths.basename(path)):
        raise serr.Inval(path, "cannot be removed: name one of its entries")
    return path

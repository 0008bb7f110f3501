"""Moving and renaming."""

from __future__ import annotations

from typing import Any

from fsspec.implementations.local import trailing_sep

from sigmaos_ray import serr
from sigmaos_ray.fsspec import entries
from sigmaos_ray.fsspec.bridge import on_client_loop
from sigmaos_ray.fsspec.part import FsspecPart
from sigmaos_ray.sigmap import path as paths


class MoveCalls(FsspecPart):
    """``mv`` and its like."""

    async def _mv(
        self, path1: Any, path2: Any, recursive: bool = False, maxdepth: int | None = None, **kwargs: Any
    ) -> None:
        """On one server a rename, in one moment, of files and directories alike. Across servers, and in S3, what is
        moved is copied and then removed. Into ``path2`` if that is a directory; directories above it are made."""
        is_one = isinstance(path1, str) and isinstance(path2, str) and await self._is_name(path1)
        if maxdepth is not None or not is_one:
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
            is_renamed = await self._renamed(source, target)
        except serr.NotFound:
            # Of which of the two? If the source is there, it is the directory above the target that is missing.
            await self._check_there(source)
            await self._makedirs(self._parent(target), exist_ok=True)
            is_renamed = await self._renamed(source, target)
        if not is_renamed:
            await self._copy_and_remove(source, target)

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
        except serr.Inval:  # what a rename across servers is told, and one that no server would do
            if await sc.server_of(source) == await sc.server_of(target):
                raise
            return False
        return True

    async def _copy_and_remove(self, source: str, target: str) -> None:
        """Nothing is removed before all is copied; what was copied stays if that fails. Exists for a directory whose
        name is taken: the copy would go into it."""
        is_dir = await self._isdir(source)
        if is_dir and await self._exists(target):
            raise serr.Exists(target)
        if is_dir:
            await self._copy(source, target, recursive=True, on_error="raise")
        else:
            await self._cp_file(source, target)
        await self._rm(source, recursive=is_dir)

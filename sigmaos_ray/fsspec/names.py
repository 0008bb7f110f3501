"""Names with ``*``, ``?`` or ``[`` in them: what is there under such a name is meant before any pattern is."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from fsspec.implementations.local import LocalFileSystem, trailing_sep
from fsspec.spec import has_magic

from sigmaos_ray.fsspec.part import FsspecPart
from sigmaos_ray.sigmap import path as paths


class NameCalls(FsspecPart):
    """Calls that take a name or a pattern. ``glob`` alone always takes patterns."""

    async def _expand_path(
        self, path: Any, recursive: bool = False, maxdepth: int | None = None, assume_literal: bool = False
    ) -> list[str]:
        """The names that are meant, in order; a pattern's, unless something has that name. NotFound for none."""
        if assume_literal:
            expanded: list[str] = await super()._expand_path(path, recursive, maxdepth, assume_literal=True)
            return expanded
        literal: list[str] = []
        patterns: list[str] = []
        for name in [path] if isinstance(path, str) else path:
            (literal if await self._is_name(name) else patterns).append(name)
        found: set[str] = set()
        if literal:
            found.update(await super()._expand_path(literal, recursive, maxdepth, assume_literal=True))
        if patterns or not literal:
            found.update(await super()._expand_path(patterns, recursive, maxdepth))
        return sorted(found)

    async def _copy(self, path1: Any, path2: Any, recursive: bool = False, **kwargs: Any) -> None:
        if await self._is_odd_name(path1) and isinstance(path2, str):
            into = trailing_sep(path2) or await self._isdir(path2)
            path1, path2 = await self._pairs(path1, path2, recursive, kwargs.pop("maxdepth", None), into=into)
        await super()._copy(path1, path2, recursive=recursive, **kwargs)

    async def _get(self, rpath: Any, lpath: Any, recursive: bool = False, **kwargs: Any) -> Any:
        if await self._is_odd_name(rpath) and isinstance(lpath, str | os.PathLike):
            lpath = os.fspath(lpath)
            into = trailing_sep(lpath) or await asyncio.to_thread(os.path.isdir, lpath)
            rpath, lpath = await self._pairs(rpath, lpath, recursive, kwargs.pop("maxdepth", None), into=into)
        return await super()._get(rpath, lpath, recursive=recursive, **kwargs)

    async def _put(self, lpath: Any, rpath: Any, recursive: bool = False, **kwargs: Any) -> Any:
        is_odd = isinstance(lpath, str | os.PathLike) and has_magic(os.fspath(lpath)) and isinstance(rpath, str)
        if is_odd and await asyncio.to_thread(os.path.isfile, lpath):
            lpath = LocalFileSystem._strip_protocol(os.fspath(lpath))
            if trailing_sep(rpath) or await self._isdir(rpath):
                rpath = f"{rpath.rstrip('/')}/{os.path.basename(lpath)}"
            lpath, rpath = [lpath], [rpath]
        return await super()._put(lpath, rpath, recursive=recursive, **kwargs)

    async def _is_odd_name(self, path: Any) -> bool:
        return isinstance(path, str) and has_magic(path) and await self._is_name(path)

    async def _pairs(
        self, source: str, target: str, recursive: bool, maxdepth: int | None, *, into: bool
    ) -> tuple[list[str], list[str]]:
        """What is copied, and where to, by the rules that fsspec has for names. ``into``: the target is a directory."""
        root = self._strip_protocol(source)
        names = await self._expand_path([root], recursive, maxdepth, assume_literal=True)
        if not recursive or maxdepth is not None:
            names = [name for name in names if not await self._isdir(name)]
        if into and not trailing_sep(source):
            target = f"{target.rstrip('/')}/{paths.basename(root)}"
        return names, [target + name.removeprefix(root) for name in names]

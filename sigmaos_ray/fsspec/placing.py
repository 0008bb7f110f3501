"""Where on its server a file is written until it is published."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from sigmaos_ray import serr
from sigmaos_ray.fslib.pathnames import parse
from sigmaos_ray.fsspec import entries
from sigmaos_ray.fsspec.deliveries import Waiting
from sigmaos_ray.sigmap import DEV_S3, DMDEVICE, DMNAMEDPIPE, DMTMP, Stat
from sigmaos_ray.sigmap import path as paths

if TYPE_CHECKING:
    from sigmaos_ray.sigmaclnt import AsyncSigmaClnt


async def end_of(sc: AsyncSigmaClnt, path: str) -> int:
    """A file's size; 0 if it is not there. NotSupported where nothing can be appended (S3), IsDir for a directory."""
    there = await _stat_or_none(sc, path)
    if there is not None and there.is_dir:
        raise serr.IsDir(path)
    if await _dev_at(sc, path, there) == DEV_S3:
        raise serr.NotSupported(path, "S3 appends nothing")
    return 0 if there is None else there.length


async def beside(sc: AsyncSigmaClnt, path: str) -> Waiting | None:
    """A name beside what ``path`` leads to, and the permissions that are to be; None for what is written where it is:
    in S3, and a pipe, a device or a leased file."""
    parts, _ = parse(path)
    path = "/".join(await sc.core.behind_links(parts))
    there = await _stat_or_none(sc, path)
    if await _dev_at(sc, path, there) == DEV_S3:
        return None
    if there is not None and there.is_dir:
        raise serr.IsDir(path)
    if there is not None and there.mode & (DMTMP | DMDEVICE | DMNAMEDPIPE):
        return None
    name = paths.name_beside(f".{paths.basename(path)}", f".{secrets.token_hex(8)}")
    return Waiting(f"{entries.parent_of(path)}/{name}", path, 0o777 if there is None else there.perm)


async def _stat_or_none(sc: AsyncSigmaClnt, path: str) -> Stat | None:
    try:
        return await sc.stat(entries.followed(path))
    except serr.NotFound:
        return None


async def _dev_at(sc: AsyncSigmaClnt, path: str, there: Stat | None) -> int | None:
    """The kind of server; None if the directory above is missing, too."""
    if there is not None:
        return there.dev
    above = await _stat_or_none(sc, entries.parent_of(path))
    return None if above is None else above.dev

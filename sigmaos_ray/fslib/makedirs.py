"""Making a directory and what is missing above it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sigmaos_ray import serr
from sigmaos_ray.sigmap import DB, DMDIR, OREAD, S3, SCHEDD, UX, Fence, Perm, path

if TYPE_CHECKING:
    from sigmaos_ray.fslib.core import FsCore

_SERVERS: Final = frozenset({DB, S3, SCHEDD, UX})
"""Directories whose entries are the nodes' servers."""


async def make_dirs(core: FsCore, parts: list[str], perm: Perm, fence: Fence) -> None:
    """All of it is there when this returns. NotFound for a root or server that is not there; Exists or NotDir if
    something else stands in the way. ``fence``: instead of the carried one."""
    # From the far end: most often it is there, or its parent is, and then nothing above it need be looked at.
    there = len(parts)
    while not await _make_dir(core, parts[:there], perm, fence):
        there -= 1
    for length in range(there + 1, len(parts) + 1):
        if not await _make_dir(core, parts[:length], perm, fence):
            raise serr.NotFound("/".join(parts[:length]), "a link to nothing, or removed while it was made")


async def _make_dir(core: FsCore, parts: list[str], perm: Perm, fence: Fence) -> bool:
    """True if the directory is there now; False if the one above it is missing, or it was removed meanwhile."""
    # Nobody makes a root or a union. Nor a node's server: where one just went, a directory of its name would keep it
    # from coming back.
    if len(parts) < 2 or path.is_union(parts[-1]) or path.join(*parts[:-1]) in _SERVERS:
        await _check_is_dir(core, parts)
        return True
    try:
        fid = await core.create_fid("/".join(parts), DMDIR | perm, OREAD, fence=fence)
    except serr.NotFound:
        return False
    except (serr.Exists, serr.NoCreate, serr.NotSupported) as refusal:
        # S3 refuses to make buckets, be they there or not.
        try:
            await _check_is_dir(core, parts)
        except serr.NotDir:
            raise refusal from None
        except serr.NotFound:
            if isinstance(refusal, serr.Exists):  # removed between the two calls
                return False
            raise refusal from None
    else:
        fid.free()
    return True


async def _check_is_dir(core: FsCore, parts: list[str]) -> None:
    """NotFound; NotDir if something else is there. Links are followed."""
    fid = await core.walker.walk(parts, resolve=True)
    try:
        stat = await fid.stat()
    finally:
        fid.free()
    if not stat.is_dir:
        raise serr.NotDir("/".join(parts))

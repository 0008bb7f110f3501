"""Writing a file in one message, or in parts if it is too large for one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sigmaos_ray import serr
from sigmaos_ray.fslib.naming import about
from sigmaos_ray.fslib.pathnames import parse
from sigmaos_ray.fslib.repeats import NEVER_RAN
from sigmaos_ray.sigmap import NO_LEASE, NO_OFFSET, OAPPEND

if TYPE_CHECKING:
    from sigmaos_ray.fslib.core import FsCore
    from sigmaos_ray.fslib.fidclnt import RemoteFid
    from sigmaos_ray.fslib.part import Data
    from sigmaos_ray.sigmap import Mode, Perm


async def put_whole(
    core: FsCore, pn: str, data: Data, perm: Perm, mode: Mode, offset: int, lease_id: int = NO_LEASE
) -> int:
    """Opens or makes the file, and writes all of ``data`` at ``offset`` (NO_OFFSET: at its end); returns its length.
    What fails in the middle of several parts leaves the parts before it."""
    parts, resolve = parse(pn)
    # A copy: the caller's buffer may change before the message is packed, or packed again for another server.
    content = bytes(data)
    if len(content) > core.config.wire.io_bytes_max:
        return await _put_in_parts(core, pn, content, perm, mode, offset, lease_id)
    fence = core.fences.of(parts)

    async def send(fid: RemoteFid, names: list[str]) -> int:
        return await fid.put_file(
            names,
            content,
            perm=perm,
            mode=mode,
            offset=offset,
            resolve=resolve,
            lease=lease_id,
            fence=fence,
        )

    async def walked() -> int:
        if len(parts) < 2:
            raise serr.Inval(pn, "cannot be written")
        parent = await core.walker.walk(parts[:-1], resolve=True)
        try:
            return await send(parent, parts[-1:])
        except serr.NotDir as error:
            # A link at the end, which was to be followed: the server stops there, and the client walks on.
            if not resolve or error.obj != parts[-1]:
                raise
        finally:
            await parent.clunk_quietly()
        fid = await core.walker.walk(parts, resolve=True)
        try:
            return await send(fid, [])
        finally:
            await fid.clunk_quietly()

    with about(pn):
        # Not idempotent: another client may have written since a put of unknown fate, and would be overwritten.
        return await core.fast(parts, resolve, send, walked, NEVER_RAN)


async def _put_in_parts(
    core: FsCore, pn: str, content: bytes, perm: Perm, mode: Mode, offset: int, lease_id: int
) -> int:
    with about(pn):
        fid = await core.create_or_open_fid(pn, perm, mode, lease_id)
        fence = core.fences.of_pathname(pn)
        try:
            for start in range(0, len(content), core.io_bytes_max):
                part = content[start : start + core.io_bytes_max]
                await fid.write(NO_OFFSET if mode & OAPPEND else offset + start, part, fence)
        except BaseException:
            await fid.abort_quietly()
            raise
        await fid.clunk()
    return len(content)

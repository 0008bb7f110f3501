"""Writing a file in one message, or in parts if it is too large for one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sigmaos_ray import serr
from sigmaos_ray.fslib.buffers import octets
from sigmaos_ray.fslib.naming import about
from sigmaos_ray.fslib.pathnames import parse
from sigmaos_ray.fslib.repeats import NEVER_RAN
from sigmaos_ray.sessp.aside import leave_if_direct
from sigmaos_ray.sigmap import NO_LEASE, NO_OFFSET, OAPPEND, path

if TYPE_CHECKING:
    from sigmaos_ray.fslib.core import FsCore, Target
    from sigmaos_ray.fslib.part import Data
    from sigmaos_ray.sigmap import Mode, Perm


async def put_whole(
    core: FsCore, pn: str, data: Data, perm: Perm, mode: Mode, offset: int, lease_id: int = NO_LEASE
) -> int:
    """Opens or makes the file, and writes all of ``data`` at ``offset`` (NO_OFFSET: at its end); returns its length.
    What fails in the middle of several parts leaves the parts before it."""
    parts, resolve = parse(pn)
    content = content_of(data)
    if len(content) > core.config.wire.io_bytes_max:
        leave_if_direct()
        return await _put_in_parts(core, pn, content, perm, mode, offset, lease_id)

    async def send(to: Target) -> int:
        return await to.fid.put_file(
            to.names,
            content,
            perm=perm,
            mode=mode,
            offset=offset,
            resolve=resolve,
            lease=lease_id,
            fence=to.fence,
        )

    with about(pn):
        if len(parts) < 2:
            raise serr.Inval(pn, "cannot be written")
        # Another client may have written since a put of unknown fate, and would be overwritten.
        return await core.fast(parts, resolve, send, NEVER_RAN)


def content_of(data: Data) -> bytes:
    """What is put, as it is now: the caller's buffer may change before the message is packed, or packed again for
    another server. TypeError for what is no bytes: a number would be taken for so many zeros."""
    return data if type(data) is bytes else bytes(octets(data))


async def _put_in_parts(
    core: FsCore, pn: str, content: bytes, perm: Perm, mode: Mode, offset: int, lease_id: int
) -> int:
    with about(pn):
        fid = await core.create_or_open_fid(pn, perm, mode, lease_id)
        fence = core.fence_of(path.split(pn), fid.way)
        try:
            for start in range(0, len(content), core.io_bytes_max):
                part = content[start : start + core.io_bytes_max]
                await fid.write(NO_OFFSET if mode & OAPPEND else offset + start, part, fence)
        except BaseException:  # cancelled as well: half of it is not to be kept
            fid.free(abort=True)
            raise
        await fid.clunk()
    return len(content)

"""Whole files in one call."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from sigmaos_ray import serr
from sigmaos_ray.fslib.descriptors import Data, lease_id_of
from sigmaos_ray.fslib.fdtable import OpenFd
from sigmaos_ray.fslib.naming import about
from sigmaos_ray.fslib.readers import AsyncReader
from sigmaos_ray.fslib.transactions import Transactions
from sigmaos_ray.sigmap import (
    DEV_S3,
    DMSYMLINK,
    DMTMP,
    NO_LEASE,
    NO_OFFSET,
    OAPPEND,
    OEXCL,
    OTRUNC,
    OWRITE,
    Mode,
    Perm,
)

if TYPE_CHECKING:
    from sigmaos_ray.fslib.fidclnt import RemoteFid

__all__ = ["Data", "Files"]


class Files(Transactions):
    """Calls that read or write a file from its beginning to its end."""

    async def get_file(self, pn: str) -> bytes:
        """The whole contents, of any size; up to 1 MiB in one message. A link without ``/`` at the end gives what
        the link itself holds."""
        parts, resolve = self._split(pn)
        io_bytes_max = self._config.wire.io_bytes_max

        async def walked() -> bytes:
            fid = await self._walker.walk(parts, resolve=resolve)
            try:
                return await fid.get_file([], io_bytes_max)
            finally:
                await fid.clunk_quietly()

        with about(pn):
            data = await self._fast(
                parts,
                resolve,
                lambda fid, rest: fid.get_file(rest, io_bytes_max, resolve=resolve),
                walked,
                idempotent=True,
            )
            if len(data) < io_bytes_max:
                return data
            async with AsyncReader(self, pn, len(data)) as reader:
                return data + await reader.read()

    async def put_file(self, pn: str, data: Data, perm: Perm = 0o777, mode: Mode = OWRITE) -> int:
        """Makes a file, or replaces its whole contents; returns the length written. OEXCL: it must not exist. OAPPEND:
        at its end. Up to 1 MiB it is seen whole or not at all; larger data goes in parts (``put_file_atomic``)."""
        mode |= 0 if mode & OAPPEND else OTRUNC
        return await self._put(pn, data, perm, mode, NO_OFFSET if mode & OAPPEND else 0)

    async def set_file(self, pn: str, data: Data, mode: Mode = OWRITE, offset: int = 0) -> int:
        """Writes in place at ``offset``, without truncation; makes the file if it is absent."""
        if offset < 0:
            raise serr.Inval(pn, f"offset {offset} is negative")
        return await self._put(pn, data, 0o777, mode, NO_OFFSET if mode & OAPPEND else offset)

    async def put_leased_file(self, pn: str, data: Data, lease: object, perm: Perm = 0o777, mode: Mode = OEXCL) -> int:
        """Makes a file that goes when ``lease`` (of ``LeaseClnt``, for the server that stores ``pn``) ends. Exists if
        the name is taken."""
        return await self._put(pn, data, perm | DMTMP, mode | OWRITE, 0, lease_id_of(pn, lease))

    async def _put(self, pn: str, data: Data, perm: Perm, mode: Mode, offset: int, lease_id: int = NO_LEASE) -> int:
        parts, resolve = self._split(pn)
        content = bytes(data)
        if len(content) > self._config.wire.io_bytes_max:
            return await self._put_in_parts(pn, content, perm, mode, offset, lease_id)
        fence = self._fence_of(parts)

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
            parent = await self._walker.walk(parts[:-1], resolve=True)
            try:
                return await send(parent, parts[-1:])
            except serr.NotDir as error:
                if not resolve or error.obj != parts[-1]:
                    raise
            finally:
                await parent.clunk_quietly()
            fid = await self._walker.walk(parts, resolve=True)
            try:
                return await send(fid, [])
            finally:
                await fid.clunk_quietly()

        with about(pn):
            return await self._fast(parts, resolve, send, walked, idempotent=False)

    async def _put_in_parts(self, pn: str, content: bytes, perm: Perm, mode: Mode, offset: int, lease_id: int) -> int:
        with about(pn):
            fid = await self.create_or_open_fid(pn, perm, mode, lease_id)
        fd = self._fds.add(OpenFd(fid, mode, pn))
        try:
            if not mode & OAPPEND:
                await self.seek(fd, offset)
            count = await self.write(fd, content)
        except BaseException:  # a cancellation too: what was opened is closed, and it goes on
            await self._abort_fd(fd)
            raise
        await self.close_fd(fd)
        return count

    async def put_file_atomic(self, pn: str, data: Data, perm: Perm = 0o777) -> int:
        """Replaces the whole contents at any size; readers see the old or the new, never a mix. Through a temporary
        file beside it, where the server can rename."""
        if len(data) <= self._config.wire.io_bytes_max:
            return await self.put_file(pn, data, perm)
        if await self._appears_at_close(pn):
            return await self.put_file(pn, data, perm)
        pn = await self._behind_links(pn)
        temporary = f"{pn.rstrip('/')}.{self._fids.client_id:x}.{self._fids.next_number()}"
        try:
            count = await self.put_file(temporary, data, perm, OWRITE | OEXCL)
            await self.rename(temporary, pn)
        except BaseException:  # a cancellation too: what was made is taken back, and it goes on
            await asyncio.shield(self._remove_if_there(temporary))
            raise
        return count

    async def _behind_links(self, pn: str) -> str:
        """For a pathname that ends in ``/``, the one that the link at its end leads to."""
        parts, resolve = self._split(pn)
        if not resolve:
            return pn
        try:
            walked = await self._walker.walk_through(parts, resolve=True)
        except serr.NotFound:
            return "/".join(parts)
        await walked.fid.clunk_quietly()
        return "/".join(walked.parts)

    async def _appears_at_close(self, pn: str) -> bool:
        """True for files of servers that show a new object only when it is complete, and cannot rename: S3."""
        return (await self.stat(pn.rstrip("/").rpartition("/")[0] + "/")).dev == DEV_S3

    async def _remove_if_there(self, pn: str) -> None:
        try:
            await self.remove(pn)
        except serr.SigmaError:  # it was not made, or its server is gone: the first error is the one to tell
            return

    async def symlink(self, target: str, pn: str) -> None:
        """Makes a link to a pathname. Exists if the name is taken; the target need not exist."""
        self._split(target)
        await self._put(pn, target.encode(), DMSYMLINK | 0o777, OWRITE | OEXCL, 0)

"""Descriptors: small numbers for open files. Errors on one are never retried (E-7)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sigmaos_ray import serr
from sigmaos_ray.fslib.buffers import octets
from sigmaos_ray.fslib.fdtable import OpenFd
from sigmaos_ray.fslib.naming import about
from sigmaos_ray.fslib.part import Data, FsPart, lease_id_of
from sigmaos_ray.fslib.readers import AsyncReader
from sigmaos_ray.fslib.writers import part_of
from sigmaos_ray.sessp.aside import Elsewhere, leave_if_direct
from sigmaos_ray.sigmap import (
    DMTMP,
    NO_FENCE,
    NO_LEASE,
    NO_OFFSET,
    OAPPEND,
    OREAD,
    OWRITE,
    Fence,
    Mode,
    Perm,
    Qid,
    path,
)

if TYPE_CHECKING:
    from collections.abc import Sequence


class DescriptorCalls(FsPart):
    """Calls that open, and calls on what is open. A descriptor may be used by any number of tasks."""

    async def create(self, pn: str, perm: Perm = 0o777, mode: Mode = OWRITE) -> int:
        """Makes a file and opens it; returns its descriptor. Exists if the name is taken."""
        return await self._create(pn, perm, mode, NO_LEASE, NO_FENCE)

    async def create_leased(self, pn: str, perm: Perm, mode: Mode, lease: object, fence: Fence = NO_FENCE) -> int:
        """Like ``create``, for a file that goes when ``lease``, a lease or its number, ends. ``fence``: instead of the
        one that changes there carry."""
        return await self._create(pn, perm | DMTMP, mode, lease_id_of(pn, lease), fence)

    async def _create(self, pn: str, perm: Perm, mode: Mode, lease_id: int, fence: Fence) -> int:
        with about(pn):
            fid = await self.core.create_fid(pn, perm, mode, lease_id, fence=fence)
            return self.core.fds.add(OpenFd(fid, mode, pn))

    async def create_whole(
        self, pn: str, data: bytes, perm: Perm, lease_id: int = NO_LEASE, fence: Fence = NO_FENCE
    ) -> Qid:
        """Makes a file with its contents, in one moment; returns what it was made as: in named the version is the
        revision of the store. At most 1 MiB. Exists if the name is taken; NotSupported on servers that cannot."""
        with about(pn):
            perm |= DMTMP if lease_id else 0
            fid = await self.core.create_fid(pn, perm, OWRITE, lease_id, data, fence)
            fid.free()
            return fid.made

    async def open(self, pn: str, mode: Mode = OREAD) -> int:
        """Opens a file or, for reading, a directory; returns a descriptor. Of a pipe: waits for the other end. OEXCL
        is for ``create``."""
        with about(pn):
            return self.core.fds.add(OpenFd(await self.core.open_fid(pn, mode), mode, pn))

    async def close_fd(self, fd: int) -> None:
        """Closes; errors of what was not yet durable appear here. NotFound for a descriptor that is not open. Calls
        that wait on it end with an error."""
        entry = self.core.fds.remove(fd)
        try:
            with about(entry.pathname):
                await entry.fid.clunk()
        except Elsewhere:
            self.core.fds.put_back(fd, entry)
            raise
        except BaseException:  # as it says below, for a cancelled close, too
            # Free whatever comes of the clunk, as after close(2): who closes again would hit another file.
            self.core.fds.release(fd)
            raise
        self.core.fds.release(fd)

    async def read(self, fd: int, count: int) -> bytes:
        """At most ``count`` bytes from the descriptor's offset, which moves on; empty at the end. Of a pipe: what is
        there, and Closed at its end."""
        entry = self._entry(fd)
        async with entry.moving:
            data = await self._pread(entry, count, entry.offset)
            entry.offset += len(data)
        return data

    async def pread(self, fd: int, count: int, offset: int) -> bytes:
        """At most ``count`` bytes from ``offset``; the descriptor's offset stays."""
        return await self._pread(self._entry(fd), count, offset)

    def _entry(self, fd: int) -> OpenFd:
        """What a descriptor stands for, to be read or written."""
        entry = self.core.fds.get(fd)
        if entry.is_pipe:
            leave_if_direct()  # it may wait for somebody else, while which a proc gives its core back
        return entry

    async def _pread(self, entry: OpenFd, count: int, offset: int) -> bytes:
        if count < 0 or offset < 0:
            raise serr.Inval(entry.pathname, f"count {count} and offset {offset} are not negative")
        io_bytes_max = self.core.io_bytes_max
        with about(entry.pathname):
            if count <= io_bytes_max or entry.is_pipe:
                data = await entry.fid.read(offset, min(count, io_bytes_max))
                if len(data) > count:
                    raise serr.IOErr(entry.pathname, f"the server sent {len(data)} bytes where {count} were asked for")
                return data
            leave_if_direct()
            reader = AsyncReader(self.core, entry.pathname, offset, count, fid=entry.fid, is_shared=True)
            return await reader.read(count)

    async def write(self, fd: int, data: Data) -> int:
        """Writes all of ``data`` at the descriptor's offset, which moves on; returns its length. With OAPPEND: at the
        end of the file. A failure in the middle leaves what was written before it."""
        entry = self._entry(fd)
        return await self._write(entry, data, self.core.fence_of(path.split(entry.pathname), entry.fid.way))

    async def write_fence(self, fd: int, data: Data, fence: Fence) -> int:
        """``write`` under ``fence``, instead of the one that changes there carry: Stale if the server knows a newer
        one."""
        return await self._write(self._entry(fd), data, fence)

    async def _write(self, entry: OpenFd, data: Data, fence: Fence) -> int:
        view = octets(data)
        io_bytes_max = self.core.io_bytes_max
        if len(view) > io_bytes_max:
            leave_if_direct()
        written_bytes = 0
        async with entry.moving:
            with about(entry.pathname):
                # Nothing at all is written too: the server says whether it would take it.
                while written_bytes < len(view) or not len(view):
                    part = part_of(data if type(data) is bytes else view, written_bytes, io_bytes_max)
                    offset = NO_OFFSET if entry.mode & OAPPEND else entry.offset
                    count = await entry.fid.write(offset, part, fence)
                    entry.offset += count
                    written_bytes += count
                    if written_bytes >= len(view):
                        break
        return written_bytes

    async def truncate_fd(self, fd: int, size: int) -> None:
        """Cuts an open file to ``size`` bytes, or fills it up to them with zeros; the descriptor's offset stays.
        NotSupported where no length can be set: S3, pipes, devices."""
        entry = self._entry(fd)
        with about(entry.pathname):
            await entry.fid.set_length(
                _checked_size(entry.pathname, size), self.core.fence_of(path.split(entry.pathname), entry.fid.way)
            )

    async def truncate(self, pn: str, size: int) -> None:
        """``truncate_fd`` of a file that must exist; a link at its end is not followed without ``/``."""
        _checked_size(pn, size)
        with about(pn):
            fid = await self.core.open_fid(pn, OWRITE)
            try:
                await fid.set_length(size, self.core.fence_of(path.split(pn), fid.way))
            except BaseException:  # cancelled, too: what was opened is given back, and nothing of it kept
                fid.free(abort=True)
                raise
            await fid.clunk()

    async def write_read(self, fd: int, frames: Sequence[bytes]) -> list[bytes]:
        """One call on an open device (R-3): hands it the frames, and returns those that it answers with. NotSupported
        by what is no device."""
        entry = self.core.fds.get(fd)
        with about(entry.pathname):
            return list(await entry.fid.write_read(frames))

    async def seek(self, fd: int, offset: int) -> None:
        """Sets the descriptor's offset, from the file's beginning. Of a directory only 0 makes sense."""
        entry = self.core.fds.get(fd)
        if offset < 0:
            raise serr.Inval(entry.pathname, f"offset {offset} is negative")
        entry.offset = offset


def _checked_size(pn: str, size: int) -> int:
    if size < 0:
        raise serr.Inval(pn, f"a length of {size} bytes")
    return size

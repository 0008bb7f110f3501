"""Files: descriptors, and whole files in one call (section F)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from sigmaos_ray import serr
from sigmaos_ray.fslib.base import FsBase
from sigmaos_ray.fslib.fdtable import OpenFd
from sigmaos_ray.fslib.naming import about
from sigmaos_ray.sigmap import (
    DEV_S3,
    DMSYMLINK,
    DMTMP,
    NO_FENCE,
    NO_LEASE,
    NO_OFFSET,
    OAPPEND,
    OEXCL,
    OREAD,
    OTRUNC,
    OWRITE,
    Fence,
    Mode,
    Perm,
    Qid,
    Stat,
)
from sigmaos_ray.sigmap import path as paths

if TYPE_CHECKING:
    from sigmaos_ray.fslib.fidclnt import RemoteFid

Data = bytes | bytearray | memoryview


class Files(FsBase):
    """File calls. Pathnames that end in ``/`` follow a link at their end (N-3). Errors carry the pathname."""

    # -- descriptors

    async def create(self, pn: str, perm: Perm = 0o777, mode: Mode = OWRITE) -> int:
        """Makes a file and opens it; returns its descriptor. Exists if the name is taken."""
        return await self._create(pn, perm, mode, NO_LEASE)

    async def create_leased(self, pn: str, perm: Perm, mode: Mode, lease_id: int) -> int:
        """Like ``create``, for a file that goes when the lease ends."""
        return await self._create(pn, perm | DMTMP, mode, lease_id)

    async def _create(self, pn: str, perm: Perm, mode: Mode, lease_id: int) -> int:
        with about(pn):
            fid = await self._create_fid(pn, perm, mode, lease_id)
            return self._fds.add(OpenFd(fid, mode, pn))

    async def create_whole(self, pn: str, data: bytes, perm: Perm, lease_id: int = NO_LEASE) -> Qid:
        """Makes a file with its contents, in one moment; returns what it was made as: in named the version is the
        revision of the store. At most 1 MiB. Exists if the name is taken; NotSupported on servers that cannot."""
        with about(pn):
            fid = await self._create_fid(pn, perm | (DMTMP if lease_id else 0), OWRITE, lease_id, data)
            await fid.clunk_quietly()
            return fid.made

    async def _create_fid(
        self, pn: str, perm: Perm, mode: Mode, lease_id: int = NO_LEASE, data: bytes = b""
    ) -> RemoteFid:
        parts, _ = self._split(pn)
        if len(parts) < 2 or paths.is_union(parts[-1]):
            raise serr.Inval(pn, "cannot be created")
        fid = await self._walker.walk(parts[:-1], resolve=True)
        try:
            await fid.create(parts[-1], perm, mode, lease_id, self._fence_of(parts), data)
        except BaseException:
            await fid.clunk_quietly()
            raise
        return fid

    async def open(self, pn: str, mode: Mode = OREAD) -> int:
        """Opens a file or, for reading, a directory; returns a descriptor. OEXCL is for ``create``."""
        with about(pn):
            return self._fds.add(OpenFd(await self.open_fid(pn, mode), mode, pn))

    async def open_fid(self, pn: str, mode: Mode) -> RemoteFid:
        """An open fid; the caller clunks it. For streams and watches."""
        parts, resolve = self._split(pn)
        fid = await self._walker.walk(parts, resolve=resolve)
        try:
            await fid.open(mode, self._fence_of(parts))
        except BaseException:
            await fid.clunk_quietly()
            raise
        return fid

    async def close_fd(self, fd: int) -> None:
        """Closes; errors of what was not yet durable appear here. NotFound for a descriptor that is not open."""
        entry = self._fds.take(fd)
        with about(entry.pathname):
            await entry.fid.clunk()

    async def read(self, fd: int, count: int) -> bytes:
        """At most ``count`` bytes from the descriptor's offset, which moves on; empty at the end."""
        entry = self._fds.get(fd)
        data = await self._pread(entry, count, entry.offset)
        entry.offset += len(data)
        return data

    async def pread(self, fd: int, count: int, offset: int) -> bytes:
        """At most ``count`` bytes from ``offset``; the descriptor's offset stays."""
        return await self._pread(self._fds.get(fd), count, offset)

    async def _pread(self, entry: OpenFd, count: int, offset: int) -> bytes:
        if count < 0 or offset < 0:
            raise serr.Inval(entry.pathname, f"count {count} and offset {offset} are not negative")
        io_bytes_max = self._config.wire.io_bytes_max
        with about(entry.pathname):
            if count <= io_bytes_max:
                return await entry.fid.read(offset, count)
            parts: list[bytes] = []
            while count > 0:
                part = await entry.fid.read(offset, min(count, io_bytes_max))
                if not part:
                    break
                parts.append(part)
                offset += len(part)
                count -= len(part)
            return b"".join(parts)

    async def write(self, fd: int, data: Data) -> int:
        """Writes all of ``data`` at the descriptor's offset, which moves on; returns its length. With OAPPEND: at the
        end of the file. A failure in the middle leaves what was written before it."""
        entry = self._fds.get(fd)
        view = memoryview(data).cast("B")
        fence = self.fence_of(entry.pathname)
        io_bytes_max = self._config.wire.io_bytes_max
        with about(entry.pathname):
            done = 0
            while done < len(view) or not len(view):
                part = bytes(view[done : done + io_bytes_max])
                offset = NO_OFFSET if entry.mode & OAPPEND else entry.offset
                count = await entry.fid.write(offset, part, fence)
                entry.offset += count
                done += count
                if done >= len(view):
                    break
        return done

    async def seek(self, fd: int, offset: int) -> None:
        """Sets the descriptor's offset, from the file's beginning. Of a directory only 0 makes sense."""
        entry = self._fds.get(fd)
        if offset < 0:
            raise serr.Inval(entry.pathname, f"offset {offset} is negative")
        entry.offset = offset

    # -- whole files

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
            return data if len(data) < io_bytes_max else data + await self._get_rest(pn, len(data))

    async def _get_rest(self, pn: str, offset: int) -> bytes:
        parts: list[bytes] = []
        fid = await self.open_fid(pn, OREAD)
        try:
            while part := await fid.read(offset, self._config.wire.io_bytes_max):
                parts.append(part)
                offset += len(part)
        finally:
            await fid.clunk_quietly()
        return b"".join(parts)

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
        lease_id = getattr(lease, "id", lease)
        if not isinstance(lease_id, int) or lease_id == NO_LEASE:
            raise serr.Inval(pn, f"{lease!r} is not a lease")
        return await self._put(pn, data, perm | DMTMP, mode | OWRITE, 0, lease_id)

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
        except BaseException:
            await self._abort_fd(fd)
            raise
        await self.close_fd(fd)
        return count

    async def create_or_open_fid(self, pn: str, perm: Perm, mode: Mode, lease_id: int = NO_LEASE) -> RemoteFid:
        """An open fid of a file that is made if it is absent, and if it exists opened in ``mode``, unless OEXCL."""
        parts, resolve = self._split(pn)
        if resolve:
            try:
                return await self.open_fid(pn, mode)
            except serr.NotFound:
                pn = "/".join(parts)
        while True:
            try:
                return await self._create_fid(pn, perm, mode, lease_id)
            except serr.Exists:
                if mode & OEXCL:
                    raise
            try:
                return await self.open_fid(pn, mode)
            except serr.NotFound:  # removed between the two: make it after all
                continue

    def fence_of(self, pn: str) -> Fence:
        """The fence that a change of ``pn`` by this client carries."""
        return self._fence_of(paths.split(pn))

    async def _abort_fd(self, fd: int) -> None:
        """Closes without making durable what is not yet."""
        entry = self._fds.take(fd)
        try:
            await entry.fid.clunk(abort=True)
        except serr.SigmaError:  # the error that led here is the one to tell
            return

    async def put_file_atomic(self, pn: str, data: Data, perm: Perm = 0o777) -> int:
        """Replaces the whole contents at any size; readers see the old or the new, never a mix. Through a temporary
        file beside it, where the server can rename."""
        if len(data) <= self._config.wire.io_bytes_max:
            return await self.put_file(pn, data, perm)
        if await self._appears_at_close(pn):
            return await self.put_file(pn, data, perm)
        temporary = f"{pn.rstrip('/')}.{self._fids.client_id:x}.{self._fids.next_number()}"
        try:
            count = await self.put_file(temporary, data, perm, OWRITE | OEXCL)
            await self.rename(temporary, pn)
        except BaseException:
            await asyncio.shield(self._remove_if_there(temporary))
            raise
        return count

    async def _appears_at_close(self, pn: str) -> bool:
        """True for files of servers that show a new object only when it is complete, and cannot rename: S3."""
        return (await self.stat(pn.rstrip("/").rpartition("/")[0] + "/")).dev == DEV_S3

    async def _remove_if_there(self, pn: str) -> None:
        try:
            await self.remove(pn)
        except serr.SigmaError:  # it was not made, or its server is gone: the first error is the one to tell
            return

    # -- names and links

    async def stat(self, pn: str) -> Stat:
        """What the server says of an object; of a link itself, unless ``pn`` ends in ``/``."""
        parts, resolve = self._split(pn)

        async def walked() -> Stat:
            fid = await self._walker.walk(parts, resolve=resolve)
            try:
                return await fid.stat()
            finally:
                await fid.clunk_quietly()

        with about(pn):
            return await self._fast(
                parts, resolve, lambda fid, rest: fid.stat(rest, resolve=resolve), walked, idempotent=True
            )

    async def remove(self, pn: str, fence: Fence = NO_FENCE) -> None:
        """Removes a file, a link, or an empty directory; NotEmpty for a full one. ``fence``: instead of the one that
        changes there carry."""
        parts, resolve = self._split(pn)
        fence = fence or self._fence_of(parts)

        async def walked() -> None:
            fid = await self._walker.walk(parts, resolve=resolve)
            await fid.remove(fence)

        with about(pn):
            if len(parts) < 2:
                raise serr.Inval(pn, "the root cannot be removed")
            await self._fast(
                parts,
                resolve,
                lambda fid, rest: fid.remove_file(rest, resolve=resolve, fence=fence),
                walked,
                idempotent=False,
            )

    async def rename(self, old: str, new: str) -> None:
        """Gives an object a new pathname on the same server, in one moment; replaces a file or an empty directory.
        Links are renamed themselves. Inval across servers."""
        old_parts, _ = self._split(old)
        new_parts, _ = self._split(new)
        with about(old):
            if len(old_parts) < 2 or len(new_parts) < 2:
                raise serr.Inval(old, "the root cannot be renamed")
            fence = self._fence_of(new_parts) or self._fence_of(old_parts)
            if old_parts[:-1] == new_parts[:-1]:
                fid = await self._walker.walk(old_parts, resolve=False)
                try:
                    await fid.rename_to(new_parts[-1], fence)
                finally:
                    await fid.clunk_quietly()
            else:
                await self._rename_across(old_parts, new_parts, fence)

    async def _rename_across(self, old_parts: list[str], new_parts: list[str], fence: Fence) -> None:
        source = await self._walker.walk(old_parts[:-1], resolve=True)
        try:
            target = await self._walker.walk(new_parts[:-1], resolve=True)
            try:
                if source.session is not target.session:
                    raise serr.Inval("/".join(new_parts), "a rename stays within one server")
                await source.rename_at(old_parts[-1], target, new_parts[-1], fence)
            finally:
                await target.clunk_quietly()
        finally:
            await source.clunk_quietly()

    async def symlink(self, target: str, pn: str) -> None:
        """Makes a link to a pathname. Exists if the name is taken; the target need not exist."""
        self._split(target)
        await self._put(pn, target.encode(), DMSYMLINK | 0o777, OWRITE | OEXCL, 0)

    # -- JSON

    async def get_file_json(self, pn: str) -> Any:
        """The file's one JSON value. Inval if the contents are no JSON."""
        data = await self.get_file(pn)
        try:
            return msgspec.json.decode(data)
        except msgspec.DecodeError as error:
            raise serr.Inval(pn, f"not JSON: {error}") from error

    async def put_file_json(self, pn: str, value: Any, perm: Perm = 0o777) -> int:
        """Replaces the contents with one JSON value."""
        return await self.put_file(pn, _to_json(pn, value), perm)

    async def append_file_json(self, pn: str, value: Any) -> int:
        """Adds one JSON value, on a line of its own, at the end; makes the file if it is absent."""
        return await self.put_file(pn, _to_json(pn, value) + b"\n", mode=OWRITE | OAPPEND)


def _to_json(pn: str, value: Any) -> bytes:
    try:
        return msgspec.json.encode(value)
    except (TypeError, ValueError) as error:
        raise serr.Inval(pn, f"no JSON for it: {error}") from error

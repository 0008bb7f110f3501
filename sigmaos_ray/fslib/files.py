"""Whole files in one call."""

from __future__ import annotations

from sigmaos_ray import serr
from sigmaos_ray.fslib.naming import about
from sigmaos_ray.fslib.part import Data, FsPart, NeedsEntries, lease_id_of
from sigmaos_ray.fslib.pathnames import parse
from sigmaos_ray.fslib.puts import content_of, put_whole
from sigmaos_ray.fslib.readers import AsyncReader
from sigmaos_ray.fslib.repeats import LOOKED
from sigmaos_ray.sessp.aside import leave_if_direct
from sigmaos_ray.sigmap import (
    DEV_S3,
    DMDEVICE,
    DMNAMEDPIPE,
    DMSYMLINK,
    DMTMP,
    NO_OFFSET,
    OAPPEND,
    OEXCL,
    OREAD,
    OTRUNC,
    OWRITE,
    Mode,
    Perm,
    Qid,
    Stat,
    path,
)


class FileCalls(FsPart, NeedsEntries):
    """Calls that read or write a file from its beginning to its end."""

    async def get_file(self, pn: str) -> bytes:
        """The whole contents, of any size, as they were at one moment; up to 1 MiB in one message. A link without
        ``/`` at the end gives what the link itself holds. Version for a larger file that changes all the time."""
        parts, resolve = parse(pn)
        core = self.core
        io_bytes_max = core.config.wire.io_bytes_max

        with about(pn):
            data, seen = await core.fast(
                parts, resolve, lambda to: to.fid.get_part(to.names, io_bytes_max, resolve=resolve), LOOKED
            )
            if len(data) < io_bytes_max:
                return data
            leave_if_direct()
            return await self._get_large(pn, data, seen)

    async def _get_large(self, pn: str, first: bytes, seen: Qid) -> bytes:
        """The file that ``first`` is the beginning of, if it is still what was ``seen``; else all of it, anew."""
        for _ in range(self.core.config.streams.rereads_max + 1):
            fid = await self.core.open_fid(pn, OREAD)
            try:
                begun = first if (fid.seen.path, fid.seen.version) == (seen.path, seen.version) else b""
                async with AsyncReader(self.core, pn, len(begun), fid=fid, is_shared=True) as reader:
                    data = begun + await reader.read()
                    if await reader.is_of_one_version():
                        return data
            except serr.Version:
                continue
            finally:
                fid.free()
        raise serr.Version(pn, "it changed each time that it was read")

    async def put_file(self, pn: str, data: Data, perm: Perm = 0o777, mode: Mode = OWRITE) -> int:
        """Makes a file, or replaces its whole contents; returns the length written. OEXCL: it must not exist. OAPPEND:
        at its end. Up to 1 MiB it is seen whole or not at all; larger data goes in parts (``put_file_atomic``)."""
        mode |= 0 if mode & OAPPEND else OTRUNC
        return await put_whole(self.core, pn, data, perm, mode, NO_OFFSET if mode & OAPPEND else 0)

    async def set_file(self, pn: str, data: Data, mode: Mode = OWRITE, offset: int = 0) -> int:
        """Writes in place at ``offset``, without truncation; makes the file if it is absent."""
        if offset < 0:
            raise serr.Inval(pn, f"offset {offset} is negative")
        return await put_whole(self.core, pn, data, 0o777, mode, NO_OFFSET if mode & OAPPEND else offset)

    async def put_leased_file(self, pn: str, data: Data, lease: object, perm: Perm = 0o777, mode: Mode = OEXCL) -> int:
        """Makes a file that goes when ``lease`` (of ``LeaseClnt``, for the server that stores ``pn``) ends. Exists if
        the name is taken."""
        return await put_whole(self.core, pn, data, perm | DMTMP, mode | OWRITE, 0, lease_id_of(pn, lease))

    async def put_file_atomic(self, pn: str, data: Data, perm: Perm = 0o777) -> int:
        """Replaces the whole contents at any size; readers see the old or the new, never a mix. What is there keeps
        its permissions. Past 1 MiB through a temporary file beside it, where the server can rename: NotSupported then
        for a leased file, which would not go with its lease any more, and for pipes and devices."""
        data = content_of(data)
        if len(data) <= self.core.io_bytes_max:
            return await self.put_file(pn, data, perm)
        parts, resolve = parse(pn)
        pn = "/".join(await self.core.behind_links(parts) if resolve else parts)
        there = await self._stat_if_there(pn)
        if (there or await self.stat(pn.rpartition("/")[0] + "/")).dev == DEV_S3:
            # Shown only when it is complete, and cannot be renamed.
            return await self.put_file(pn, data, perm)
        if there is not None:
            perm = perm_to_keep(pn, there)
        fids = self.core.fids
        # Beside the file, as a rename stays within one server. Its name is this call's alone: client ids are random.
        directory, _, name = pn.rpartition("/")
        temporary = path.join(directory, path.name_beside(name, f".{fids.client_id:x}.{fids.next_number()}"))
        try:
            count = await self.put_file(temporary, data, perm, OWRITE | OEXCL)
            await self.rename(temporary, pn)
        except BaseException:  # a temporary file is left by nobody, cancelled or not
            # Behind the caller, if need be: who is cancelled waits for no server, and the file is to go all the same.
            await self.core.behind.settle(self._remove_if_there(temporary), "remove-temporary")
            raise
        return count

    async def _stat_if_there(self, pn: str) -> Stat | None:
        try:
            return await self.stat(pn)
        except serr.NotFound:
            return None

    async def _remove_if_there(self, pn: str) -> None:
        try:
            await self.remove(pn)
        except serr.SigmaError:  # it was not made, or its server is gone: the first error is the one to tell
            return

    async def symlink(self, target: str, pn: str) -> None:
        """Makes a link to a pathname. Exists if the name is taken; the target need not exist."""
        parse(target)
        await put_whole(self.core, pn, target.encode(), DMSYMLINK | 0o777, OWRITE | OEXCL, 0)


def perm_to_keep(pn: str, there: Stat) -> Perm:
    """The permissions of a file that another one is to take the place of, by a rename."""
    if there.is_dir:
        raise serr.IsDir(pn)
    if there.mode & (DMTMP | DMDEVICE | DMNAMEDPIPE):
        raise serr.NotSupported(pn, "a leased file, a pipe or a device is not replaced by another file")
    return there.mode

"""Streams: reading and writing files of any size (F-2)."""

from __future__ import annotations

from sigmaos_ray.fslib.part import FsPart, NeedsWatches
from sigmaos_ray.fslib.readers import AsyncParallelReader, AsyncReader
from sigmaos_ray.fslib.writers import AsyncWriter
from sigmaos_ray.sigmap import OACCESS_MASK, OAPPEND, OEXCL, OREAD, OTRUNC, OWRITE, Mode, Perm


class StreamCalls(FsPart, NeedsWatches):
    """Calls that return readers and writers."""

    def open_reader(
        self, pn: str, offset: int = 0, length: int | None = None, *, buffer_bytes: int | None = None
    ) -> AsyncReader:
        """A reader of ``length`` bytes from ``offset``, or to the end: ``async with sc.open_reader(pn) as reader``.
        ``buffer_bytes``: how much one read asks for, at most 1 MiB, which is the default."""
        return AsyncReader(self.core, pn, offset, length, buffer_bytes=buffer_bytes)

    async def open_wait_reader(self, pn: str, timeout_s: float | None = None) -> AsyncReader:
        """An open reader of ``pn``, once it exists; the caller closes it. Raises like ``open_wait``."""
        return AsyncReader(self.core, pn, fid=await self._open_fid_wait(pn, OREAD, timeout_s))

    def open_parallel_reader(self, pn: str, offset: int = 0, length: int | None = None) -> AsyncParallelReader:
        """A file that several tasks read at a time, each the next chunk that nobody took yet."""
        return AsyncParallelReader(self.core, pn, offset, length)

    def create_writer(
        self, pn: str, perm: Perm = 0o777, mode: Mode = OWRITE, *, buffer_bytes: int | None = None
    ) -> AsyncWriter:
        """A writer that makes ``pn`` or replaces its contents (OEXCL, OAPPEND: see ``put_file``). ``buffer_bytes``:
        how much one write sends, at most 1 MiB, which is the default; it is gathered first."""
        mode |= 0 if mode & (OAPPEND | OEXCL) else OTRUNC
        return AsyncWriter(self.core, pn, perm, mode, buffer_bytes=buffer_bytes)

    def open_writer(self, pn: str, mode: Mode = OWRITE, *, buffer_bytes: int | None = None) -> AsyncWriter:
        """A writer of what exists, a pipe say: from its beginning in place, unless ``mode`` has OTRUNC or OAPPEND.
        NotFound if it does not exist."""
        mode |= 0 if mode & OACCESS_MASK else OWRITE
        return AsyncWriter(self.core, pn, None, mode, buffer_bytes=buffer_bytes)

"""Copies: from server to server, and from this machine's files into the namespace."""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING

from sigmaos_ray import config, serr
from sigmaos_ray.fslib.part import FsPart, NeedsDirs, NeedsFiles, NeedsStreams
from sigmaos_ray.sigmap import OEXCL, OWRITE, path

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Iterable, Iterator
    from typing import BinaryIO

    from sigmaos_ray.sigmap import Stat


class CopyCalls(FsPart, NeedsFiles, NeedsDirs, NeedsStreams):
    """Calls that copy."""

    async def copy_file(self, src: str, dst: str) -> int:
        """Copies contents, also across servers; ``dst`` must not exist. Returns the length. Version if ``src`` changes
        meanwhile, so that the copy may be a mixture. What was copied before an error stays, except on S3."""
        async with self.open_reader(src) as reader, self.create_writer(dst, mode=OWRITE | OEXCL) as writer:
            async for part in reader:
                await writer.write(part)
            if not await reader.is_of_one_version():
                raise serr.Version(src, "it changed while it was copied")
        return writer.written_bytes

    async def copy_dir(self, src: str, dst: str) -> int:
        """Copies the files of one directory, one level deep, into another one, which exists; returns how many. Links
        are copied as links. Exists if a name is taken: what was copied before stays."""
        stats = [stat for stat in await self.get_dir(src) if not stat.is_dir]

        async def copy(stat: Stat) -> None:
            source, target = path.join(src, stat.name), path.join(dst, stat.name)
            if stat.qid.is_symlink:
                await self.put_file(target, await self.get_file(source), stat.mode, OWRITE | OEXCL)
            else:
                await self.copy_file(source, target)

        await _some_at_a_time(copy(stat) for stat in stats)
        return len(stats)

    async def upload_file(self, local: str | os.PathLike[str], pn: str) -> int:
        """Makes ``pn``, or replaces its contents, with those of a file of this machine; returns the length."""
        with _foreign_errors(local):
            file = await asyncio.to_thread(open, local, "rb")
        try:
            async with self.create_writer(pn) as writer:
                async for part in _parts_of(file, local, self.core.io_bytes_max):
                    await writer.write(part)
        finally:
            file.close()
        return writer.written_bytes

    async def upload_dir(self, local: str | os.PathLike[str], pn: str) -> int:
        """Makes the directory ``pn``, with all that is below a directory of this machine; returns how many files.
        Exists if the name is taken. Links are followed; Inval for one that leads back up."""
        return await self._upload_dir(os.fspath(local), pn, ())

    async def _upload_dir(self, local: str, pn: str, above: tuple[str, ...]) -> int:
        with _foreign_errors(local):
            here, files, directories = await asyncio.to_thread(_listed, local)
        if here in above:
            raise serr.Inval(local, "a link that leads back up")
        await self.mkdir(pn)
        await _some_at_a_time(self.upload_file(os.path.join(local, name), path.join(pn, name)) for name in files)
        count = len(files)
        for name in directories:
            count += await self._upload_dir(os.path.join(local, name), path.join(pn, name), (*above, here))
        return count


def _listed(local: str) -> tuple[str, list[str], list[str]]:
    """The real path of a directory; the names of its files and of its directories, links followed."""
    files: list[str] = []
    directories: list[str] = []
    with os.scandir(local) as entries:
        for entry in entries:
            if entry.is_dir():
                directories.append(entry.name)
            elif entry.is_file():
                files.append(entry.name)
            else:
                raise serr.Inval(entry.path, "neither a file nor a directory")
    return os.path.realpath(local), sorted(files), sorted(directories)


async def _parts_of(file: BinaryIO, local: str | os.PathLike[str], part_bytes: int) -> AsyncIterator[bytes]:
    while True:
        with _foreign_errors(local):
            part = await asyncio.to_thread(file.read, part_bytes)
        if not part:
            return
        yield part


@contextlib.contextmanager
def _foreign_errors(local: str | os.PathLike[str]) -> Iterator[None]:
    """Errors of this machine's files as ours."""
    kinds: dict[type[OSError], type[serr.SigmaError]] = {
        FileNotFoundError: serr.NotFound,
        IsADirectoryError: serr.IsDir,
        NotADirectoryError: serr.NotDir,
        PermissionError: serr.Perm,
    }
    try:
        yield
    except OSError as error:
        if isinstance(error, serr.SigmaError):
            raise
        raise kinds.get(type(error), serr.Error)(os.fspath(local), error.strerror) from error


async def _some_at_a_time(calls: Iterable[Awaitable[object]]) -> None:
    """Awaits all, a bounded number at a time; the first error ends it, once what runs has ended."""
    remaining = iter(calls)  # shared: each worker takes the next one
    failures: list[BaseException] = []

    async def work() -> None:
        for call in remaining:
            if failures:
                # After a failure those that are left are not begun, and a coroutine that is never awaited warns.
                _drop(call)
                continue
            try:
                await call
            except serr.SigmaError as error:
                failures.append(error)

    async with asyncio.TaskGroup() as group:
        for _ in range(config.current().streams.files_in_flight):
            group.create_task(work())
    if failures:
        raise failures[0]


def _drop(call: Awaitable[object]) -> None:
    """Closes a coroutine that will not run."""
    close = getattr(call, "close", None)
    if close is not None:
        close()

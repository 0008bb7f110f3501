"""Whole files between the namespace and local disks, and within the namespace. On the client's loop; what is small
goes in one message, what is large in parts; disks are asked in threads."""

from __future__ import annotations

import asyncio
import os
from typing import IO, TYPE_CHECKING, Any

from sigmaos_ray import serr
from sigmaos_ray.fsspec import entries
from sigmaos_ray.localfile import LocalWriter
from sigmaos_ray.sigmap import OWRITE, Mode

if TYPE_CHECKING:
    from sigmaos_ray.fsspec.entries import Entry
    from sigmaos_ray.sigmaclnt import AsyncSigmaClnt

PART_BYTES = 1 << 20


async def download(sc: AsyncSigmaClnt, source: Entry, local: str, callback: Any) -> None:
    """Makes or replaces a local file, and makes directories above it. What was there stays until all is here."""
    await asyncio.to_thread(os.makedirs, os.path.dirname(local) or ".", exist_ok=True)
    callback.set_size(source["size"])
    writer = await asyncio.to_thread(LocalWriter, local)
    try:
        if source["size"] is not None and source["size"] < sc.read_bytes_max:
            data = await sc.get_file(entries.followed(source["name"]))
            await asyncio.to_thread(writer.file.write, data)
            callback.relative_update(len(data))
        else:
            await download_to(sc, source, writer.file, callback)
        await asyncio.to_thread(writer.commit)
    except BaseException:
        await asyncio.shield(asyncio.to_thread(writer.discard))  # even if this call is cancelled once more
        raise


async def download_to(sc: AsyncSigmaClnt, source: Entry, file: IO[bytes], callback: Any) -> None:
    """Writes the contents to an open file."""
    async with sc.open_reader(entries.followed(source["name"])) as reader:
        async for part in reader:
            await asyncio.to_thread(file.write, part)
            callback.relative_update(len(part))


async def upload(sc: AsyncSigmaClnt, local: str, pathname: str, flags: Mode, callback: Any) -> None:
    """Makes or replaces a file; with OEXCL in ``flags`` it must not exist."""
    file = await asyncio.to_thread(open, local, "rb")
    try:
        callback.set_size(os.fstat(file.fileno()).st_size)
        pathname = entries.written(pathname, flags)
        # By what there is to read, not by the size that was told: the file may be growing, or be a pipe.
        first = await asyncio.to_thread(file.read, sc.read_bytes_max)
        if len(first) < sc.read_bytes_max:
            await sc.put_file(pathname, first, mode=OWRITE | flags)
            callback.relative_update(len(first))
            return
        async with sc.create_writer(pathname, mode=OWRITE | flags) as writer:
            part = first
            while part:
                await writer.write(part)
                callback.relative_update(len(part))
                part = await asyncio.to_thread(file.read, PART_BYTES)
    finally:
        await asyncio.to_thread(file.close)


async def copy(sc: AsyncSigmaClnt, source: Entry, target: str) -> None:
    """Makes or replaces ``target``. Inval if both are one file: emptying the one would empty the other."""
    origin, target = entries.followed(source["name"]), entries.followed(target)
    if source["size"] is not None and source["size"] < sc.read_bytes_max:
        await sc.put_file(target, await sc.get_file(origin))
        return
    await _refuse_same(sc, source, target)
    async with sc.open_reader(origin) as reader, sc.create_writer(target) as writer:
        async for part in reader:
            await writer.write(part)


async def _refuse_same(sc: AsyncSigmaClnt, source: Entry, target: str) -> None:
    try:
        existing = entries.entry_of(target, await sc.stat(entries.followed(target)))
    except serr.NotFound:
        return
    if {**existing, "name": ""} == {**source, "name": ""}:
        raise serr.Inval(target, f"is the same file as {source['name']}")

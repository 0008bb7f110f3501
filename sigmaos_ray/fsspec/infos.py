"""What is at one pathname, and what tells one state of a file from another."""

from __future__ import annotations

import datetime
import hashlib
from typing import TYPE_CHECKING, Any

from sigmaos_ray import serr
from sigmaos_ray.fsspec import entries
from sigmaos_ray.fsspec.bridge import on_client_loop
from sigmaos_ray.fsspec.part import FsspecPart

if TYPE_CHECKING:
    from sigmaos_ray.fsspec.entries import Entry


class InfoCalls(FsspecPart):
    """Looking at one pathname. Links are followed."""

    async def _info(self, path: str, **kwargs: Any) -> Entry:
        """NotFound, or NotDir where a file stands on the way. The root has an entry without a server being asked."""
        path = self._strip_protocol(path)
        if not path:
            return dict(entries.ROOT)
        return await self._entry_at(path)

    @on_client_loop
    async def _entry_at(self, path: str) -> Entry:
        return entries.entry_of(path, await self._sc.stat(entries.followed(path)))

    async def _exists(self, path: str, **kwargs: Any) -> bool:
        return await self._kind(path) is not None

    async def _isdir(self, path: str) -> bool:
        return await self._kind(path) == "directory"

    async def _isfile(self, path: str) -> bool:
        return await self._kind(path) == "file"

    async def _kind(self, path: str) -> str | None:
        """None if there is nothing. A server that cannot be reached is an error, not an absence."""
        try:
            return str((await self._info(path))["type"])
        except (serr.NotFound, serr.NotDir):
            return None

    # -- states of a file

    async def _ukey(self, path: str) -> str:
        """Of the object's identity and version: moves with every change of a file, whatever its clock says."""
        identity = entries.identity(await self._info(path))
        return hashlib.sha256(repr(identity).encode()).hexdigest()

    async def _checksum(self, path: str) -> int:
        """As ``ukey``: of the version, not of the contents."""
        return int(await self._ukey(path), 16)

    async def _modified(self, path: str) -> datetime.datetime:
        """In UTC. NotSupported for what its server keeps no time of, a directory in S3 say."""
        entry = await self._info(path)
        if not entry.get("mtime"):
            raise serr.NotSupported(entry["name"], "its server keeps no time of change")
        return datetime.datetime.fromtimestamp(entry["mtime"], tz=datetime.UTC)

    async def _created(self, path: str) -> datetime.datetime:
        """Always NotSupported: sigmap has no time of creation. ``modified`` tells that of the last change."""
        raise serr.NotSupported(entries.strip(path), "sigmap keeps no time of creation")

"""Files that hold JSON."""

from __future__ import annotations

from typing import Any

import msgspec

from sigmaos_ray import serr
from sigmaos_ray.fslib.streams import Streams
from sigmaos_ray.sigmap import OAPPEND, OTRUNC, OWRITE, Perm


class JsonFiles(Streams):
    """Calls that read and write JSON values. Inval for a value that has no JSON, and for contents that are none."""

    async def get_file_json(self, pn: str) -> Any:
        """The file's one JSON value."""
        return from_json(pn, await self.get_file(pn))

    async def get_file_json_watch(self, pn: str, timeout_s: float | None = None) -> Any:
        """``get_file_json``, once the file exists. Raises like ``open_wait``."""
        return from_json(pn, await self.get_file_watch(pn, timeout_s))

    async def put_file_json(self, pn: str, value: Any, perm: Perm = 0o777) -> int:
        """Replaces the contents with one JSON value."""
        return await self.put_file(pn, to_json(pn, value), perm)

    async def put_file_json_atomic(self, pn: str, value: Any, perm: Perm = 0o777) -> int:
        """``put_file_json`` at any size: readers see the old value or the new."""
        return await self.put_file_atomic(pn, to_json(pn, value), perm)

    async def set_file_json(self, pn: str, value: Any) -> int:
        """Writes one JSON value into the file, made if it is absent. Nothing stays of what it held."""
        return await self.set_file(pn, to_json(pn, value), OWRITE | OTRUNC)

    async def append_file_json(self, pn: str, value: Any) -> int:
        """Adds one JSON value, on a line of its own, at the end; makes the file if it is absent."""
        return await self.put_file(pn, to_json(pn, value) + b"\n", mode=OWRITE | OAPPEND)


def from_json(pn: str, data: bytes) -> Any:
    """Inval if the data is not one JSON value."""
    try:
        return msgspec.json.decode(data)
    except msgspec.DecodeError as error:
        raise serr.Inval(pn, f"not JSON: {error}") from error


def to_json(pn: str, value: Any) -> bytes:
    """Inval for a value that has no JSON."""
    try:
        return msgspec.json.encode(value)
    except (TypeError, ValueError) as error:
        raise serr.Inval(pn, f"no JSON for it: {error}") from error

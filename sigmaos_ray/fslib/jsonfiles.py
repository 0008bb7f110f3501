"""Files that hold JSON."""

from __future__ import annotations

from typing import Any

from sigmaos_ray.fslib.jsontext import from_json, to_json
from sigmaos_ray.fslib.part import FsPart, NeedsFiles, NeedsWatches
from sigmaos_ray.sigmap import OAPPEND, OTRUNC, OWRITE, Perm


class JsonCalls(FsPart, NeedsFiles, NeedsWatches):
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

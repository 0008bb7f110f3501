"""Directories that are to be there, asked for by many calls at once."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sigmaos_ray.sigmaclnt import AsyncSigmaClnt


class DirMaker:
    """Calls that want one directory at the same time share the work of making it: a bulk copy has many files in each.
    Used on the client's loop only."""

    def __init__(self) -> None:
        self._tasks: dict[tuple[int, str], asyncio.Task[None]] = {}
        """By process too: a forked child inherits tasks that will never end there."""

    async def ensure(self, sc: AsyncSigmaClnt, pathname: str) -> None:
        """Makes a directory and what is missing above it; one that is there is fine."""
        key = (os.getpid(), pathname)
        task = self._tasks.get(key)
        if task is None:
            task = self._tasks[key] = asyncio.create_task(sc.makedirs(pathname), name="fsspec-mkdir")
            task.add_done_callback(lambda _: self._tasks.pop(key, None))
        await asyncio.shield(task)  # others wait for it, too: it outlives a caller that is cancelled

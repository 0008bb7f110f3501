"""The blocking face of FsLib: the same calls, for threads. ``SigmaClnt`` is made of it.

What runs a coroutine and waits for it is generated (``calls``); here is what differs in threads.
"""

from __future__ import annotations

from sigmaos_ray.blocking.dircache import DirCache
from sigmaos_ray.blocking.dirs import DirsFace
from sigmaos_ray.blocking.face import BlockingClient, on_loop
from sigmaos_ray.blocking.records import read_json_records, read_records, write_json_record, write_record
from sigmaos_ray.blocking.streams import ParallelReader, StreamsFace, Writer
from sigmaos_ray.blocking.watches import Watch, WatchesFace


class FsLib(DirsFace, StreamsFace, WatchesFace):
    """All calls of ``AsyncFsLib``, blocking: those of ``FsCalls``, which are generated, and those with callbacks,
    iterators and file objects."""

    def stats(self) -> dict[str, dict[str, int]]:
        """Counters: ``path`` for what pathnames cost, ``sp`` for messages by kind. Of a closed client too."""
        return self._clnt.stats()


__all__ = [
    "BlockingClient",
    "DirCache",
    "FsLib",
    "ParallelReader",
    "Watch",
    "Writer",
    "on_loop",
    "read_json_records",
    "read_records",
    "write_json_record",
    "write_record",
]

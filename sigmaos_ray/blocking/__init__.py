"""The blocking face of FsLib: the same calls, for threads. ``SigmaClnt`` is made of it."""

from sigmaos_ray.blocking.dircache import DirCache
from sigmaos_ray.blocking.files import FilesFace
from sigmaos_ray.blocking.records import read_json_records, read_records, write_json_record, write_record
from sigmaos_ray.blocking.servers import ServersFace
from sigmaos_ray.blocking.streams import ParallelReader, StreamsFace, Writer
from sigmaos_ray.blocking.watches import Watch, WatchesFace


class FsLib(FilesFace, WatchesFace, StreamsFace, ServersFace):
    """All calls of ``AsyncFsLib``, blocking."""


__all__ = [
    "DirCache",
    "FsLib",
    "ParallelReader",
    "Watch",
    "Writer",
    "read_json_records",
    "read_records",
    "write_json_record",
    "write_record",
]

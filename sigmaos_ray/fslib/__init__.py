"""FsLib: from pathnames to files, over sessions. ``AsyncFsLib`` is the client of sigmap that everything else uses."""

from sigmaos_ray.fslib.clnt import AsyncFsLib
from sigmaos_ray.fslib.dircache import AsyncDirCache
from sigmaos_ray.fslib.dirs import names, present
from sigmaos_ray.fslib.readers import AsyncParallelReader, AsyncReader
from sigmaos_ray.fslib.records import read_json_records, read_records, write_json_record, write_record
from sigmaos_ray.fslib.transactions import Change, Changed, Check, Create, Put, Remove
from sigmaos_ray.fslib.watches import DirWatch, WatchEvent
from sigmaos_ray.fslib.writers import AsyncWriter

__all__ = [
    "AsyncDirCache",
    "AsyncFsLib",
    "AsyncParallelReader",
    "AsyncReader",
    "AsyncWriter",
    "Change",
    "Changed",
    "Check",
    "Create",
    "DirWatch",
    "Put",
    "Remove",
    "WatchEvent",
    "names",
    "present",
    "read_json_records",
    "read_records",
    "write_json_record",
    "write_record",
]

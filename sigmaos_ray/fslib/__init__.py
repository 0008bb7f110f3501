"""FsLib: from pathnames to files, over sessions. ``AsyncFsLib`` is the client of sigmap that everything else uses."""

from sigmaos_ray.fslib.streams import AsyncReader, AsyncWriter, Streams
from sigmaos_ray.fslib.watches import DirWatch, WatchEvent

AsyncFsLib = Streams

__all__ = ["AsyncFsLib", "AsyncReader", "AsyncWriter", "DirWatch", "WatchEvent"]

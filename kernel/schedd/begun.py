"""What a worker has begun, in a few bytes of a file that outlives it: who finds the worker dead knows whether a proc
that it was handed may run elsewhere.

To tell the schedd instead, and wait until it has heard, would cost each proc a round trip.
"""

from __future__ import annotations

import mmap
import os
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sigmaos_ray.runner import proclog

if TYPE_CHECKING:
    from sigmaos_ray.machine import OsProcess

_RECORD: Final = struct.Struct("<64sq")


class BegunRecord:
    """A worker's own. It ends with its process; whoever takes note of that removes the file."""

    def __init__(self, log_dir: str, process: OsProcess) -> None:
        """Without a log directory nothing is kept."""
        self._bytes: mmap.mmap | bytearray = bytearray(_RECORD.size)
        if log_dir:
            file = _file(log_dir, process)
            file.parent.mkdir(parents=True, exist_ok=True)
            fd = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.ftruncate(fd, _RECORD.size)
                self._bytes = mmap.mmap(fd, _RECORD.size)
            finally:
                os.close(fd)

    def write(self, lease_id: str, number: int) -> None:
        """From now on this proc of that lease counts as begun."""
        _RECORD.pack_into(self._bytes, 0, lease_id.encode(), number)


def take(log_dir: str, process: OsProcess) -> tuple[str, int] | None:
    """What a worker that is gone began last: the lease's id and the proc's number; ``("", 0)`` if nothing. None if that
    is not known (any more). The record is removed."""
    if not log_dir:
        return None
    file = _file(log_dir, process)
    try:
        lease_id, number = _RECORD.unpack(file.read_bytes())
        file.unlink()
    except (OSError, struct.error):
        return None
    return lease_id.rstrip(b"\0").decode(), number


def _file(log_dir: str, process: OsProcess) -> Path:
    return Path(log_dir) / proclog.DIR / ".begun" / f"{process.pid}-{process.started_ticks}"

"""What the proc of this process reported of itself: the first report counts (X-27), for the runner too."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sigmaos_ray.proc import Status, Tpid

_lock = threading.Lock()
_reports: dict[Tpid, Status] = {}


def report(pid: Tpid, status: Status) -> bool:
    """Keeps a proc's status; False if it reported before."""
    with _lock:
        if pid in _reports:
            return False
        _reports[pid] = status
        return True


def reported(pid: Tpid) -> bool:
    """Whether a proc reported, and nobody took it yet."""
    return pid in _reports


def take(pid: Tpid) -> Status | None:
    """A proc's report, None if it made none. It is forgotten: the pid may be used again in this process."""
    with _lock:
        return _reports.pop(pid, None)

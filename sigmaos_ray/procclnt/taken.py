"""Statuses that threads took by themselves, until their schedds are told to forget them."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sigmaos_ray.proc import Tpid


class Taken:
    """Statuses that threads took, and their schedds have not been told of. For any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pids: dict[str, list[Tpid]] = {}
        self.is_watched = False
        """Somebody will look soon."""

    def add(self, kernel: str, pids: list[Tpid]) -> bool:
        """Whether somebody has to be asked to look soon."""
        with self._lock:
            self._pids.setdefault(kernel, []).extend(pids)
            was_watched, self.is_watched = self.is_watched, True
            return bool(pids) and not was_watched

    def of(self, kernel: str) -> list[Tpid]:
        """Takes out those of one schedd, which is about to be told."""
        if not self._pids:
            return []
        with self._lock:
            return self._pids.pop(kernel, [])

    def all(self) -> dict[str, list[Tpid]]:
        """Takes out all."""
        with self._lock:
            pids, self._pids, self.is_watched = self._pids, {}, False
            return pids

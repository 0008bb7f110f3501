"""What an instance's own Ray, and the process that is connected to it, are told in ways that Ray does not document.
Imports no Ray."""

from __future__ import annotations

import os
from typing import Any


def init_options(temp_dir: str, host: str) -> dict[str, Any]:
    """For ``ray.init``: where a Ray that it starts keeps its files and sockets, and the address that it binds."""
    return {"_temp_dir": temp_dir, "_node_ip_address": host}


def set_environment() -> None:
    """For the processes of a Ray that this process is about to start; they inherit its environment."""
    # Ray's workers are nice by default; servers that every request waits for must not be.
    os.environ.setdefault("RAY_worker_niceness", "0")
    # Out of memory, Ray ends the newest workers, and some more than it must: kernel parts are to be the last.
    os.environ.setdefault("RAY_max_kill_memory_buffer_bytes", "0")


def outlive_raylets() -> None:
    """For a process that is to go on without its raylet, and to start another one. Before Ray is imported.

    Ray's library ends its process at once when the raylet is gone and this number is that of no living process; if
    none is given, when the parent is init, as a daemon's is.
    """
    os.environ["RAY_RAYLET_PID"] = str(os.getpid())

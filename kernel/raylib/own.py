"""What an instance's own Ray, and the process that is connected to it, are told in ways that Ray does not document.
Imports no Ray by itself."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


def init_options(temp_dir: str, host: str) -> dict[str, Any]:
    """For ``ray.init``: where a Ray that it starts keeps its files and sockets, and the address that it binds."""
    return {"_temp_dir": temp_dir, "_node_ip_address": host}


@contextlib.contextmanager
def without_dashboard() -> Iterator[None]:
    """A Ray that is started meanwhile has neither dashboard nor autoscaler's monitor, which start a quarter as long as
    all of it and serve nobody here: ``include_dashboard=False`` alone leaves a server without a page. To be called by a
    process that starts one Ray at a time."""
    from ray._private.node import Node

    kept = {name: getattr(Node, name) for name in ("start_api_server", "start_monitor")}
    for name in kept:
        setattr(Node, name, _start_nothing)
    try:
        yield
    finally:
        for name, start in kept.items():
            setattr(Node, name, start)


def _start_nothing(_node: object, **_options: object) -> None:
    pass


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

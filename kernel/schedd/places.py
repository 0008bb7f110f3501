"""Where a schedd's actor stands in Ray, and where its procs run."""

from __future__ import annotations

from typing import Any

import msgspec

from sigmaos_ray.machine import OsProcess


class RayPlace(msgspec.Struct, frozen=True, kw_only=True):
    """What an actor knows of itself, and its schedd needs."""

    node_id: str
    namespace: str | None
    handle: bytes
    """The actor's own, pickled by Ray: workers call back through it."""
    runtime_env: dict[str, Any] | None = None
    """The realm's; never with per-proc data in it: Ray starts a new worker for each environment."""


class Runner(msgspec.Struct, frozen=True, kw_only=True):
    """A process that runs procs, as it tells of itself."""

    process: OsProcess
    ray_node_id: str
    kernel_id: str = ""
    """The kernel node that serves its Ray node, and watches over it; empty while there is none."""

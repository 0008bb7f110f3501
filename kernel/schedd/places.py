"""Where a schedd's actor stands in Ray."""

from __future__ import annotations

from typing import Any

import msgspec


class RayPlace(msgspec.Struct, frozen=True, kw_only=True):
    """What an actor knows of itself, and its schedd needs."""

    node_id: str
    namespace: str | None
    handle: bytes
    """The actor's own, pickled by Ray: workers call back through it."""
    runtime_env: dict[str, Any] | None = None
    """The realm's; never with per-proc data in it: Ray starts a new worker for each environment."""

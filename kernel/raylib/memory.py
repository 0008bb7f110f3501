"""Memory as Ray's own monitor sees it: how much of the node's is in use, and from when on Ray ends workers."""

from __future__ import annotations

import os
from typing import Any, Final

_VARIABLE: Final = "RAY_memory_usage_threshold"
_RAY_DEFAULT: Final = 0.95


def used_bytes() -> int:
    """Of this node's memory, or of its control group's where that has less. Reads a few small files."""
    from ray._private.utils import get_used_memory

    used: Any = get_used_memory
    return int(used())


def total_bytes() -> int:
    """As ``used_bytes``."""
    from ray._common.utils import get_system_memory

    total: Any = get_system_memory
    return int(total())


def threshold() -> float:
    """The fraction of it above which Ray ends workers. Blocks for Ray's control store; its errors propagate."""
    from ray._private.state import state

    config: Any = state
    configured = config.get_system_config().get("memory_usage_threshold")
    return float(configured or os.environ.get(_VARIABLE) or _RAY_DEFAULT)

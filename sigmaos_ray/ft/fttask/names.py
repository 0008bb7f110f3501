"""Where task servers stand, and their state."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

from sigmaos_ray import serr
from sigmaos_ray.sigmap import path

if TYPE_CHECKING:
    from sigmaos_ray.fslib import AsyncFsLib

SERVICES: Final = "name/fttask"
STATES: Final = "name/fttask-state"
LEADERS: Final = "name/fttask-leader"
PROGRAM: Final = "fttask_srv"


def server_pathname(service_id: str) -> str:
    return f"{SERVICES}/{service_id}"


def state_pathname(service_id: str) -> str:
    return f"{STATES}/{service_id}"


def leader_pathname(service_id: str) -> str:
    return f"{LEADERS}/{service_id}"


async def make_dirs(sc: AsyncFsLib, pn: str) -> None:
    """Makes a directory and what is missing above it."""
    parts = path.split(pn)
    for length in range(2, len(parts) + 1):
        with contextlib.suppress(serr.Exists):
            await sc.mkdir("/".join(parts[:length]))


def check_id(service_id: str) -> str:
    """Inval unless it can be a name."""
    reason = path.why_bad_name(service_id)
    if reason is not None:
        raise serr.Inval(service_id, f"the name of a task service: {reason}")
    return service_id

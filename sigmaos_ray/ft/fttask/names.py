"""Where task servers stand, and their state."""

from __future__ import annotations

from typing import Final

from sigmaos_ray import serr
from sigmaos_ray.sigmap import path

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


def check_id(service_id: str) -> str:
    """Inval unless it can be a name."""
    reason = path.why_bad_name(service_id)
    if reason is not None:
        raise serr.Inval(service_id, f"the name of a task service: {reason}")
    return service_id

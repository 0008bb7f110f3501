"""Where a task service stands in the namespace.

name/fttask/<id>          its server
name/fttask-state/<id>/   what the server keeps: a journal
name/fttask-leader/<id>   which of the group's members leads
"""

from __future__ import annotations

from typing import Final

from sigmaos_ray.ft.naming import checked_name

SERVICES: Final = "name/fttask"
STATES: Final = "name/fttask-state"
LEADERS: Final = "name/fttask-leader"
PROGRAM: Final = "fttask_srv"


def server_pathname(service_id: str) -> str:
    """Where the server that leads is advertised."""
    return f"{SERVICES}/{service_id}"


def state_pathname(service_id: str) -> str:
    """The directory of the journal."""
    return f"{STATES}/{service_id}"


def leader_pathname(service_id: str) -> str:
    """The leader's file."""
    return f"{LEADERS}/{service_id}"


def checked_id(service_id: str) -> str:
    """The id itself. Inval unless it can be a name."""
    return checked_name(service_id, "a task service")

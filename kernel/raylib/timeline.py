"""Procs in ``ray timeline``: what a lease's task was doing, and for whom. Ray keeps that where RAY_PROFILING was set
when it started."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from sigmaos_ray.pb import proc_pb2 as pb


def is_kept() -> bool:
    """Whether Ray keeps a timeline."""
    from ray._private import profiling

    return profiling.PROFILING_ENABLED


def span(proc: pb.ProcSpec, os_pid: int) -> AbstractContextManager[object]:
    """Around the time in which this process's task runs a proc. In the task's main thread."""
    if not is_kept():
        return contextlib.nullcontext()
    from ray._private import profiling

    what: dict[str, Any] = {"name": proc.pid, "program": proc.program, "os_pid": str(os_pid), "realm": proc.realm}
    profile: Any = profiling.profile
    kept: AbstractContextManager[object] = profile("proc", extra_data=what)
    return kept

"""How Ray says that a task or actor ended, as a Status. Ray's errors are translated here and nowhere else."""

from __future__ import annotations

import ray.exceptions as rayerr

from sigmaos_ray.pb import proc_pb2 as pb
from sigmaos_ray.proc import Status

WITHDRAWN = Status.evicted()
"""Cancelled before it ran, or on our own account."""


def of_result(data: bytes) -> tuple[Status, pb.ProcTimes]:
    """What the runner returned, and when it came how far."""
    status = pb.ProcStatus.FromString(data)
    return Status.from_pb(status), status.times


def of_error(error: BaseException) -> Status | None:
    """None: the worker died, and Ray does not know how."""
    if isinstance(error, rayerr.TaskCancelledError):
        return WITHDRAWN
    if isinstance(error, rayerr.OutOfMemoryError):
        return Status.crash(f"out of memory: {_first_line(error)}")
    if isinstance(error, rayerr.NodeDiedError | rayerr.LocalRayletDiedError):
        return Status.crash(f"node lost: {_first_line(error)}")
    # For actors Ray has one class, whatever ended them: only its words tell that the node is gone.
    if isinstance(error, rayerr.RayActorError):
        return Status.crash("node lost: its Ray node died") if "node has died" in str(error) else None
    if isinstance(error, rayerr.WorkerCrashedError):
        return None
    # Not the program's exceptions: the runner makes statuses of those. So this is a fault of ours.
    if isinstance(error, rayerr.RayTaskError):
        return Status.err(f"the runner failed: {_last_line(error)}")
    return Status.err(f"Ray could not run it: {type(error).__name__}: {_first_line(error)}")


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _last_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[-1] if lines else type(error).__name__

"""How Ray says that a lease ended, as the Status of the proc that it ran. Ray's errors are translated here and nowhere
else."""

from __future__ import annotations

import ray.exceptions as rayerr

from sigmaos_ray.proc import Status

WITHDRAWN = Status.evicted()
"""Cancelled before it ran, or on our own account."""


def of_error(error: BaseException) -> Status | None:
    """None: the worker died, and Ray does not know how."""
    if isinstance(error, rayerr.TaskCancelledError):
        return WITHDRAWN
    if isinstance(error, rayerr.OutOfMemoryError):
        return Status.crash(f"out of memory: {_first_line(error)}")
    if isinstance(error, rayerr.NodeDiedError | rayerr.LocalRayletDiedError):
        return Status.crash(f"node lost: {_first_line(error)}")
    if isinstance(error, rayerr.WorkerCrashedError):
        return None
    # Not the program's exceptions: the runner makes statuses of those. So this is a fault of ours.
    if isinstance(error, rayerr.RayTaskError):
        return Status.err(f"the runner failed: {_last_line(error)}")
    return Status.err(f"Ray could not run it: {type(error).__name__}: {_first_line(error)}")


def may_be_asked_again(error: BaseException) -> bool:
    """Whether another lease of the same needs may well begin, where this one did not."""
    return isinstance(
        error,
        rayerr.TaskCancelledError
        | rayerr.OutOfMemoryError
        | rayerr.NodeDiedError
        | rayerr.LocalRayletDiedError
        | rayerr.WorkerCrashedError,
    )


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _last_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[-1] if lines else type(error).__name__

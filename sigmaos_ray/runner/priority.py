"""How procs share the processors: who reserved cores goes before best-effort procs (C-2).

Ray gives its workers much niceness, which their children have, too. Where the system allows it, a proc that reserved
cores is freed of that, so that it weighs 28 times as much as a best-effort proc, and those still have their share
beside everybody else of the machine. Where it does not, best-effort procs run only when nobody else wants to.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from sigmaos_ray import config

if TYPE_CHECKING:
    from sigmaos_ray.pb import proc_pb2 as pb

_may_raise = True


def prepare() -> None:
    """In the keeper: finds out what the system allows."""
    global _may_raise
    own = os.getpriority(os.PRIO_PROCESS, 0)
    try:
        if own > 0:
            os.setpriority(os.PRIO_PROCESS, 0, 0)
            os.setpriority(os.PRIO_PROCESS, 0, own)
        _may_raise = True
    except OSError:
        _may_raise = False


def take(spec: pb.ProcSpec) -> None:
    """This process has the priority of that proc from now on, as have its children."""
    own = os.getpriority(os.PRIO_PROCESS, 0)
    with contextlib.suppress(OSError):
        if spec.mcpu:
            if own > 0 and _may_raise:
                os.setpriority(os.PRIO_PROCESS, 0, 0)
        elif _may_raise:
            os.setpriority(os.PRIO_PROCESS, 0, max(own, config.current().workers.best_effort_niceness))
        else:
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))

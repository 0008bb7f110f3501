"""Procs that run in the worker's own process."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from sigmaos_ray import Proc

if TYPE_CHECKING:
    from sigmaos_ray import SigmaClnt

WAIT_S = 60.0


def test_reuse(sc: SigmaClnt) -> None:
    pids = set()
    for _ in range(50):
        proc = Proc(os.getpid, reuse=True)
        sc.spawn(proc)
        status = sc.wait_exit(proc.pid, WAIT_S)
        assert status.is_ok(), status
        pids.add(status.data)
    assert len(pids) <= 3

"""Procs that take more memory than there is (C-13): Ray's memory monitor ends them, and their status says so."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psutil
import pytest
from rays import joined, own_ray

from sigmaos_ray import Proc

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sigmaos_ray import SigmaClnt

WAIT_S = 60
ROOM_MB = 2500
HOG_MB = 2 * ROOM_MB


@pytest.fixture(scope="module")
def ray_instance() -> Iterator[None]:
    """A Ray that takes the machine for full once little more is used than is now."""
    memory = psutil.virtual_memory()
    threshold = (memory.total - memory.available + (ROOM_MB << 20)) / memory.total
    limits = {
        "memory_usage_threshold": threshold,
        "memory_monitor_refresh_ms": 50,
        "max_kill_memory_buffer_bytes": 0,
    }
    with own_ray(_system_config=limits) as address, joined(address):
        yield


@pytest.mark.parametrize("mcpu", [0, pytest.param(500, marks=pytest.mark.soak)])
def test_a_proc_that_takes_too_much_is_a_crash_that_says_so(sc: SigmaClnt, mcpu: int) -> None:
    proc = Proc("programs.hog", [str(HOG_MB)], mcpu=mcpu)
    sc.spawn(proc)
    status = sc.wait_exit(proc.pid, WAIT_S)
    assert status.is_crash(), status
    assert "memory" in status.msg
    after = Proc("programs.nop")
    sc.spawn(after)
    assert sc.wait_exit(after.pid, WAIT_S).is_ok()

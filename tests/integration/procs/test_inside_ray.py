"""Ray inside a proc, and procs in what Ray tells of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import ray
from rays import joined, own_ray

from sigmaos_ray import Proc

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sigmaos_ray import SigmaClnt

WAIT_S = 60.0


@pytest.fixture(scope="module")
def ray_instance() -> Iterator[None]:
    """A Ray that keeps a timeline."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_PROFILING", "1")
        patch.setenv("RAY_task_events_report_interval_ms", "100")
        with own_ray() as address, joined(address):
            yield


def joins() -> list[object]:
    """Without arguments."""
    import ray

    ray.init(log_to_driver=False)
    try:

        @ray.remote
        def doubled(number: int) -> int:
            return 2 * number

        return [ray.get(doubled.remote(21)), ray.get_runtime_context().gcs_address]
    finally:
        ray.shutdown()


def test_a_proc_joins_the_ray_that_it_runs_on(sc: SigmaClnt) -> None:
    proc = Proc(joins)
    sc.spawn(proc)
    status = sc.wait_exit(proc.pid, WAIT_S)
    assert status.data == [42, ray.get_runtime_context().gcs_address], status


@pytest.mark.parametrize("reuse", [False, True])
def test_the_timeline_says_which_proc_ran_where_and_when(sc: SigmaClnt, reuse: bool) -> None:
    proc = Proc("programs.nap", ["0.2"], reuse=reuse)
    sc.spawn(proc)
    assert sc.wait_exit(proc.pid, WAIT_S).is_ok()
    events = []
    for _ in range(20):  # each look waits for what is under way
        events = [event for event in ray.timeline() if event["name"] == proc.pid]
        if events:
            break
    [event] = events
    assert event["cat"] == "proc"
    assert event["args"]["program"] == "programs.nap"
    assert 0.15e6 < event["dur"] < 20e6

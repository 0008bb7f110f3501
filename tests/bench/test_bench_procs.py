"""A proc that does nothing, spawned and waited for, beside a bare Ray task on the same Ray.

Claim: at most 1.6 x the task.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

import pytest
import ray
from measure import compare

from kernel.boot.raychoice import TOKEN_FILE_NAME
from sigmaos_ray import Proc

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sigmaos_ray.testing import Tstate

PROGRAM = "tests.bench.noop"
TIMES = 100


@pytest.fixture
def driver(instance: Tstate) -> Iterator[None]:
    """This process as a Ray driver, on the instance's Ray, whose token stands in its state directory."""
    os.environ["RAY_AUTH_TOKEN_PATH"] = str(instance.state_dir / TOKEN_FILE_NAME)
    ray.init(address=instance.instance.ray_address, log_to_driver=False, logging_level=logging.ERROR)
    yield
    ray.shutdown()


@pytest.mark.usefixtures("driver")
def test_spawn_and_wait_beside_a_ray_task(instance: Tstate) -> None:
    sc = instance.sc

    def procs(times: int) -> None:
        for _ in range(times):
            proc = Proc(PROGRAM)
            sc.spawn(proc)
            assert sc.wait_exit(proc.pid).is_ok()

    @ray.remote(num_cpus=0.5, max_retries=0)
    def task() -> None:
        return None

    def tasks(times: int) -> None:
        for _ in range(times):
            ray.get(task.remote())

    compare("spawn + wait_exit", ("proc", procs), ("Ray task", tasks), times=TIMES, goal=1.6)

"""How much is tried: the same few examples in each run of the ring, many and new ones in a soak."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

SOAK_EXAMPLES_COUNT = int(os.environ.get("SIGMAOS_SOAK_EXAMPLES", "1500"))

_ALL = settings(
    deadline=None,
    database=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much],
)


def quick(examples_count: int, steps_count: int = 30) -> settings:
    """The same examples in each run."""
    return settings(_ALL, derandomize=True, max_examples=examples_count, stateful_step_count=steps_count)


def soak(steps_count: int = 80) -> settings:
    """New examples in each run; a failure prints what repeats it."""
    return settings(_ALL, max_examples=SOAK_EXAMPLES_COUNT, stateful_step_count=steps_count)

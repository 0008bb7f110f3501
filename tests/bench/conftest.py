"""One instance of our own for all benchmarks; the peers run beside it."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

import pytest
from peers import PeerMissing, etcd_child, redis_child, zookeeper_child

from sigmaos_ray.perf import Perf
from sigmaos_ray.testing import Tstate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

os.environ.setdefault("RAY_AUTH_MODE", "token")
"""A Ray that ``ray.init`` starts asks for the user's token; a driver that joins it shows one only if told so before
Ray is imported."""


@pytest.fixture(scope="session", autouse=True)
def _profiled() -> Iterator[None]:
    """SIGMAPERF's selector BENCH profiles this process."""
    with Perf("BENCH"):
        yield


@pytest.fixture(scope="session")
def instance() -> Iterator[Tstate]:
    with Tstate.all() as tstate:
        yield tstate


@pytest.fixture(scope="module")
def etcd_port() -> Iterator[int | PeerMissing]:
    """The client port of an etcd, or why there is none."""
    with contextlib.ExitStack() as stack:
        yield _port_of(stack, etcd_child)


@pytest.fixture(scope="module")
def zookeeper_port() -> Iterator[int | PeerMissing]:
    """The client port of a ZooKeeper, or why there is none."""
    with contextlib.ExitStack() as stack:
        yield _port_of(stack, zookeeper_child)


@pytest.fixture(scope="module")
def redis_port() -> Iterator[int | PeerMissing]:
    """The port of a Redis, or why there is none."""
    with contextlib.ExitStack() as stack:
        yield _port_of(stack, redis_child)


def _port_of(
    stack: contextlib.ExitStack, child: Callable[[], contextlib.AbstractContextManager[int]]
) -> int | PeerMissing:
    try:
        return stack.enter_context(child())
    except PeerMissing as missing:
        return missing

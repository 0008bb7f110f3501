"""One store of one server for the tests of a file that do not need their own."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import pytest

from user.kv.blocking import KvClerk
from user.kv.job import KvJob

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sigmaos_ray.testing import Tstate


@pytest.fixture(scope="module")
def store(tstate_all: Tstate) -> Iterator[str]:
    """The name of a store with one server."""
    name = f"store-{secrets.token_hex(4)}"
    job = KvJob(tstate_all.sc, name)
    job.start()
    yield name
    job.stop()
    job.close()


@pytest.fixture
def clerk(tstate_all: Tstate, store: str) -> Iterator[KvClerk]:
    with KvClerk(tstate_all.sc, store) as clerk:
        yield clerk

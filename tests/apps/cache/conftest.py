"""One cache of two servers for the tests of a file that do not need their own."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import pytest

from user.cache import CacheClnt, CacheJob

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sigmaos_ray import SigmaClnt
    from sigmaos_ray.testing import Tstate


@pytest.fixture(scope="module")
def sc(tstate_all: Tstate) -> SigmaClnt:
    return tstate_all.sc


@pytest.fixture(scope="module")
def job(sc: SigmaClnt) -> Iterator[CacheJob]:
    with CacheJob(sc, f"cache-{secrets.token_hex(4)}", servers=2) as job:
        yield job


@pytest.fixture
def clnt(sc: SigmaClnt, job: CacheJob) -> Iterator[CacheClnt]:
    """A client of that cache, which is empty."""
    with CacheClnt(sc, job.name) as clnt:
        clnt.clear()
        yield clnt

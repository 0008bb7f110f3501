"""The suites of ``sigmaos_ray.testing.conformance``, run over each file server of this project.

Servers are started once per session; each test has a client and a directory of its own.
"""

from __future__ import annotations

import itertools
import sys
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from fileservers import SERVERS, Place
from serving import Site

from sigmaos_ray import config
from sigmaos_ray.fslib import AsyncFsLib

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from sigmaos_ray.testing.conformance import Capabilities

_numbers = itertools.count(1)


@pytest.fixture(scope="session", autouse=True)
def _quick_turns() -> Iterator[None]:
    """Servers and tests are threads of one process here, and take turns as those of a kernel actor do."""
    before_s = sys.getswitchinterval()
    sys.setswitchinterval(config.current().serving.switch_interval_s)
    yield
    sys.setswitchinterval(before_s)


def _params() -> list[Any]:
    """Each server over the connections that ``SIGMAOS_TRANSPORT`` says, the best by default; and over streams."""
    over_grpc = [
        pytest.param((kind, "grpc"), id=f"{kind}-over-grpc", marks=() if kind == "memfs" else pytest.mark.soak)
        for kind in sorted(SERVERS)
    ]
    return [*(pytest.param((kind, ""), id=kind) for kind in sorted(SERVERS)), *over_grpc]


@pytest.fixture(scope="session", params=_params())
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server of each kind, for all tests that leave it running."""
    kind, transport = request.param
    with pytest.MonkeyPatch.context() as environ:
        if transport:
            environ.setenv("SIGMAOS_TRANSPORT", transport)
        with Site(kind, Place.of(kind, request, tmp_path_factory.mktemp("site"))) as running:
            yield running


@pytest.fixture
def own_site(site: Site, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    """Another one, for the test alone."""
    with Site(site.kind, Place.of(site.kind, request, tmp_path)) as running:
        yield running


@pytest.fixture
def capabilities(site: Site) -> Capabilities:
    return site.capabilities


@pytest_asyncio.fixture
async def sc(site: Site) -> AsyncIterator[AsyncFsLib]:
    client = AsyncFsLib(site.proc_env())
    yield client
    await client.close_fs()


@pytest_asyncio.fixture
async def root(site: Site, sc: AsyncFsLib) -> str:
    pn = f"{site.new_base()}/t{next(_numbers)}"
    await sc.mkdir(pn)
    return pn

"""A lab for each file server."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from fileservers import SERVERS, Place
from fuzzservers import CONFIG
from lab import Lab

from sigmaos_ray.config import ProcEnv
from sigmaos_ray.fslib import AsyncFsLib
from sigmaos_ray.loopthread import LoopThread
from sigmaos_ray.sessp.channel import close_channels

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fileservers import Served

    from sigmaos_ray.sigmap import Endpoint


@contextmanager
def _lab(kind: str, request: pytest.FixtureRequest, directory: Path) -> Iterator[Lab]:
    place = Place.of(kind, request, directory)
    thread = LoopThread()
    try:
        served = thread.run(_made(kind, place))
        endpoint = thread.run(served.start())
        try:
            lab = thread.run(_prepared(thread, kind, endpoint, place))
            yield lab
            thread.run(lab.stop())
        finally:
            thread.run(served.stop())
            thread.run(close_channels())
    finally:
        thread.stop()
        thread.loop.close()


async def _made(kind: str, place: Place) -> Served:
    return SERVERS[kind].make(place, CONFIG)


async def _prepared(thread: LoopThread, kind: str, endpoint: Endpoint, place: Place) -> Lab:
    lab = Lab(thread, SERVERS[kind], endpoint, f"{place.new_base()}/t", place.realm)
    await lab.canary.mkdir(lab.root)
    await lab.start()
    return lab


@pytest.fixture
def memfs_lab(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Lab]:
    with _lab("memfs", request, tmp_path) as lab:
        yield lab


@pytest.fixture
def ux_root(tmp_path: Path) -> Path:
    return tmp_path / "outside" / "ux"


@pytest.fixture
def ux_lab(request: pytest.FixtureRequest, ux_root: Path) -> Iterator[Lab]:
    with _lab("ux", request, ux_root.parent) as lab:
        yield lab


@pytest.fixture(params=sorted(SERVERS))
def lab(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """Each file server in turn."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with _lab(request.param, request, tmp_path) as lab:
        yield lab


@pytest.fixture
def fslib_of(memfs_lab: Lab) -> Iterator[AsyncFsLib]:
    """A client of a memfs, beside the canary."""

    async def make() -> AsyncFsLib:
        return AsyncFsLib(ProcEnv(pid="fuzz", realm=memfs_lab.realm, named=memfs_lab.endpoint))

    client = memfs_lab.run(make())
    yield client
    memfs_lab.run(client.close_fs())


@pytest.fixture(params=["grpc", "plain"])
def each_kind(request: pytest.FixtureRequest, lab: Lab) -> Lab:
    """Each file server, attacked over each kind of connection."""
    lab.attackers = request.param
    return lab

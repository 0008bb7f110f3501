"""A lab for each file server."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import boto3
import pytest
from fuzzservers import memfs, named, s3, ux
from lab import Lab
from moto.server import ThreadedMotoServer

from sigmaos_ray.config import ProcEnv
from sigmaos_ray.fslib import AsyncFsLib
from sigmaos_ray.loopthread import LoopThread
from sigmaos_ray.protsrv.server import FileServer
from sigmaos_ray.sessp.channel import close_channels

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from mypy_boto3_s3 import S3Client

    from sigmaos_ray.sigmap import Endpoint


def _lab(
    serving: AbstractAsyncContextManager[FileServer | Endpoint], root: str = "name/t", realm: str = "rootrealm"
) -> Iterator[Lab]:
    thread = LoopThread()
    try:
        served = thread.run(serving.__aenter__())
        endpoint = served.endpoint if isinstance(served, FileServer) else served
        try:
            lab = thread.run(_prepared(thread, endpoint, root, realm))
            yield lab
            thread.run(lab.stop())
        finally:
            thread.run(serving.__aexit__(None, None, None))
            thread.run(close_channels())
    finally:
        thread.stop()
        thread.loop.close()


async def _prepared(thread: LoopThread, endpoint: Endpoint, root: str, realm: str) -> Lab:
    lab = Lab(thread, endpoint, root, realm)
    await lab.canary.mkdir(root)
    await lab.start()
    return lab


@pytest.fixture
def memfs_lab() -> Iterator[Lab]:
    yield from _lab(memfs())


@pytest.fixture
def ux_root(tmp_path: Path) -> Path:
    return tmp_path / "outside" / "ux"


@pytest.fixture
def ux_lab(ux_root: Path) -> Iterator[Lab]:
    yield from _lab(ux(ux_root))


@pytest.fixture
def named_lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    realm = f"z{secrets.token_hex(4)}"
    yield from _lab(named(request.getfixturevalue("etcd").endpoint, realm), realm=realm)


@pytest.fixture(scope="session")
def moto_endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3_lab(moto_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    bucket = f"fuzz-{secrets.token_hex(4)}"
    client: S3Client = boto3.client("s3", endpoint_url=moto_endpoint)
    client.create_bucket(Bucket=bucket)
    client.close()
    yield from _lab(s3(moto_endpoint, bucket), root=f"name/{bucket}/t")


@pytest.fixture(params=["memfs", "named", "s3", "ux"])
def lab(request: pytest.FixtureRequest) -> Lab:
    lab: Lab = request.getfixturevalue(f"{request.param}_lab")
    return lab


@pytest.fixture
def fslib_of(memfs_lab: Lab) -> Iterator[AsyncFsLib]:
    """A client of a memfs, beside the canary."""

    async def make() -> AsyncFsLib:
        return AsyncFsLib(ProcEnv(pid="fuzz", named=memfs_lab.endpoint))

    client = memfs_lab.run(make())
    yield client
    memfs_lab.run(client.close_fs())

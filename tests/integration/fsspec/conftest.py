"""One site for all tests of this directory; each test works in a directory of its own, on each server."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import boto3
import pytest
from fssite import Site
from moto.server import ThreadedMotoServer

from sigmaos_ray.fsspec import SigmaFileSystem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from etcd_child import EtcdChild

BUCKET = "fsspec"

_numbers = itertools.count(1)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What a glob matches is decided in the client, alike for all servers: the hundred cases of it that fsspec has are
    run on one, and on the others, where S3's emulator takes seconds for each, with the long runs."""
    for item in items:
        if "_glob_edge_cases[" in item.nodeid and "OnNamed::" not in item.nodeid:
            item.add_marker(pytest.mark.soak)


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="session")
def site(etcd: EtcdChild, s3_endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    client = boto3.client(
        "s3", endpoint_url=s3_endpoint, aws_access_key_id="t", aws_secret_access_key="t", region_name="us-east-1"
    )
    client.create_bucket(Bucket=BUCKET)
    client.close()
    with Site(tmp_path_factory.mktemp("site"), etcd.endpoint, s3_endpoint) as running:
        yield running


@pytest.fixture(scope="session")
def session_fs(site: Site) -> Iterator[SigmaFileSystem]:
    """Makes the directories above the files that it writes, as the suites of fsspec expect."""
    fs = SigmaFileSystem(state_file=str(site.state_file), auto_mkdir=True)
    yield fs
    fs.close()
    SigmaFileSystem.clear_instance_cache()


SERVERS = {"named": "name", "s3": f"name/s3/~local/{BUCKET}", "ux": "name/ux/~local"}


@pytest.fixture
def place(server: str, session_fs: SigmaFileSystem) -> Iterator[str]:
    """An empty directory of a server."""
    path = f"{SERVERS[server]}/test{next(_numbers)}"
    session_fs.mkdir(path)
    yield path
    if session_fs.exists(path):
        session_fs.rm(path, recursive=True)


@pytest.fixture(params=sorted(SERVERS))
def server(request: pytest.FixtureRequest) -> str:
    """The server under test; a class of tests may fix it."""
    return str(request.param)

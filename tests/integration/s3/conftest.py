"""moto's S3 over HTTP, a bucket of its own for each test, the nodes over it, and a named in memory."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import boto3
import pytest
import pytest_asyncio
from moto.server import ThreadedMotoServer
from s3tree import LIMITS, S3Tree

from kernel.s3.fs import S3Fs
from kernel.s3.store import S3Store
from sigmaos_ray.memfs import MemFs
from sigmaos_ray.protsrv.node import OpenHow
from sigmaos_ray.protsrv.server import FileServer
from sigmaos_ray.protsrv.watch import WatchTable
from sigmaos_ray.rpcsrv import Caller
from sigmaos_ray.sessp.channel import close_channels
from sigmaos_ray.sigmap import DMDIR, OREAD

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from mypy_boto3_s3 import S3Client

    from sigmaos_ray.sigmap import Endpoint

_bucket_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="session")
def boto(s3_endpoint: str) -> Iterator[S3Client]:
    client = boto3.client(
        "s3",
        endpoint_url=s3_endpoint,
        aws_access_key_id="test",
        aws_secret_access_key="test",
        region_name="us-east-1",
    )
    yield client
    client.close()


@pytest.fixture
def bucket(boto: S3Client) -> str:
    name = f"bucket-{next(_bucket_numbers):04}"
    boto.create_bucket(Bucket=name)
    return name


@pytest_asyncio.fixture
async def tree(s3_endpoint: str, boto: S3Client, bucket: str) -> AsyncIterator[S3Tree]:
    store = S3Store(s3_endpoint, None, LIMITS)
    watches = WatchTable()
    fs = S3Fs(store, watches)
    yield S3Tree(fs, watches, boto, bucket)
    store.close()


@pytest_asyncio.fixture
async def named() -> AsyncIterator[Endpoint]:
    watches = WatchTable()
    fs = MemFs(watches)
    for name in ("s3", "ux"):
        await fs.root.create(Caller(), name, OpenHow(OREAD, DMDIR | 0o777))
    server = FileServer(fs.root, watches, leases=fs.leases)
    yield await server.start()
    await server.stop()
    await close_channels()

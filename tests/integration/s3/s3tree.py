"""What the fixture ``tree`` gives: nodes over S3, and S3 itself to look behind them."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, NamedTuple

from kernel.s3.directory import S3Dir
from kernel.s3.folder import Folder
from sigmaos_ray.config import Proxy
from sigmaos_ray.protsrv.node import Node, OpenHow
from sigmaos_ray.rpcsrv import Caller
from sigmaos_ray.sigmap import OREAD, OTRUNC, OWRITE, Mode

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_s3 import S3Client

    from kernel.s3.fs import S3Fs
    from sigmaos_ray.protsrv.watch import WatchTable

ME = Caller(session_id=1, client_id=1)

LIMITS = Proxy(s3_threads=8, s3_part_bytes=5 << 20)
"""The smallest parts that S3 takes."""


class S3Tree(NamedTuple):
    fs: S3Fs
    watches: WatchTable
    boto: S3Client
    bucket: str

    @property
    def top(self) -> S3Dir:
        """The test's bucket."""
        return S3Dir(Folder(self.fs.shared, self.bucket, ""))

    def dir(self, prefix: str) -> S3Dir:
        return S3Dir(Folder(self.fs.shared, self.bucket, prefix))

    def upload(self, *keys: str, data: bytes = b"") -> None:
        """Objects that others put into the bucket."""
        for key in keys:
            self.boto.put_object(Bucket=self.bucket, Key=key, Body=data or key.encode())

    def keys(self) -> list[str]:
        page = self.boto.list_objects_v2(Bucket=self.bucket)
        return [entry["Key"] for entry in page.get("Contents", [])]

    def contents(self, key: str) -> bytes:
        with self.boto.get_object(Bucket=self.bucket, Key=key)["Body"] as body:
            return body.read()

    def uploads_under_way(self) -> int:
        return len(self.boto.list_multipart_uploads(Bucket=self.bucket).get("Uploads", []))


async def until(is_so: Callable[[], bool], timeout_s: float = 20.0) -> None:
    """Returns once it is so; AssertionError if it does not come."""
    deadline = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < deadline, "not so in time"
        await asyncio.sleep(0.01)


async def put(directory: S3Dir, name: str, data: bytes, mode: Mode = OWRITE | OTRUNC) -> int:
    return await directory.put(ME, name, data, OpenHow(mode, 0o777))


async def read_all(node: Node, caller: Caller = ME) -> bytes:
    file = await node.open(caller, OpenHow(OREAD))
    try:
        return await file.read(0, 1 << 30)
    finally:
        await file.close()


async def names(directory: S3Dir, limit: int = 4096) -> list[str]:
    """All names, page by page as protsrv asks for them."""
    all_names: list[str] = []
    while page := await directory.entries(ME, all_names[-1] if all_names else "", limit):
        all_names += [stat.name for stat in page]
    return all_names


def requests_of(tree: S3Tree) -> list[str]:
    """Operations that the store asks S3 for from now on, as they come."""
    operations: list[str] = []
    with tree.fs.shared.store.calls._clients.use(None) as client:
        client.meta.events.register(
            "before-send.s3", lambda event_name, **_: operations.append(event_name.rpartition(".")[2])
        )
    return operations

"""Large objects through s3, beside boto3 itself on the same S3.

Claims: a stream through s3 reads at least 0.9 times as fast as boto3's own download, which asks for ranges as s3 does,
and writes 0.9 times as fast as its upload. The instance's S3 is an emulator in Python that copies the whole object for
each range: against one request for all of it, which is shown too, ranges lose there.
"""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING, Final

import pytest
from measure import compare

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sigmaos_ray.testing import Tstate

BUCKET: Final = "bench-s3"
MIB: Final = 1 << 20
FILE_MIB: Final = 128
ROUNDS: Final = 5


@pytest.fixture(scope="module")
def directory(instance: Tstate) -> Iterator[str]:
    """A bucket of our own, as a pathname."""
    instance.s3.make_bucket(BUCKET)
    yield f"name/s3/~local/{BUCKET}"
    instance.s3.remove_bucket(BUCKET)


def test_a_streamed_read(instance: Tstate, directory: str) -> None:
    instance.s3.client.upload_fileobj(io.BytesIO(os.urandom(MIB) * FILE_MIB), BUCKET, "file")

    def ours(_times: int) -> None:
        got = 0
        with instance.sc.open_reader(f"{directory}/file") as reader:
            while part := reader.read(MIB):
                got += len(part)
        assert got == FILE_MIB * MIB

    def plain(_times: int) -> None:
        got = 0
        with instance.s3.client.get_object(Bucket=BUCKET, Key="file")["Body"] as body:
            while part := body.read(MIB):
                got += len(part)
        assert got == FILE_MIB * MIB

    peer = ("boto3 get_object", plain)
    compare("MiB read", ("s3", ours), peer, times=FILE_MIB, rounds=ROUNDS, rates=True)


def test_a_streamed_read_beside_parallel_downloads(instance: Tstate, directory: str) -> None:
    instance.s3.client.upload_fileobj(io.BytesIO(os.urandom(MIB) * FILE_MIB), BUCKET, "file")

    def ours(_times: int) -> None:
        with instance.sc.open_reader(f"{directory}/file") as reader:
            while reader.read(MIB):
                pass

    def plain(_times: int) -> None:
        got = io.BytesIO()
        instance.s3.client.download_fileobj(BUCKET, "file", got)
        assert got.tell() == FILE_MIB * MIB

    peer = ("boto3 download_fileobj", plain)
    compare("MiB read", ("s3", ours), peer, times=FILE_MIB, rounds=ROUNDS, goal=0.9, rates=True)


def test_a_streamed_write(instance: Tstate, directory: str) -> None:
    data = os.urandom(MIB)

    def ours(_times: int) -> None:
        with instance.sc.create_writer(f"{directory}/written") as writer:
            for _ in range(FILE_MIB):
                writer.write(data)
        instance.sc.remove(f"{directory}/written")

    def plain(_times: int) -> None:
        instance.s3.client.upload_fileobj(io.BytesIO(data * FILE_MIB), BUCKET, "copied")
        instance.s3.client.delete_object(Bucket=BUCKET, Key="copied")

    peer = ("boto3 upload_fileobj", plain)
    compare("MiB written", ("s3", ours), peer, times=FILE_MIB, rounds=3, goal=0.9, rates=True)

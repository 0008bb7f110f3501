"""s3 as a service: advertised, reached by pathname; and what it says when S3 is away or refuses."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from botocore import exceptions as boto_errors
from s3tree import until

from kernel.s3.actor import S3Kernel
from kernel.s3.errors import CODES, About, from_boto
from kernel.s3.fs import S3Fs
from kernel.s3.server import S3Server
from kernel.s3.store import S3Store
from kernel.shell import KernelArgs
from sigmaos_ray import serr
from sigmaos_ray.config import ProcEnv
from sigmaos_ray.protsrv.watch import WatchTable
from sigmaos_ray.rpcsrv import Caller
from sigmaos_ray.sigmaclnt import AsyncSigmaClnt

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from mypy_boto3_s3 import S3Client

    from sigmaos_ray.sigmap import Endpoint

KERNEL_ID = "sigma-00000001"


def args(named: Endpoint, s3_endpoint: str) -> KernelArgs:
    return KernelArgs(kernel_id=KERNEL_ID, named=named, s3_endpoint=s3_endpoint)


@asynccontextmanager
async def serving(named: Endpoint, s3_endpoint: str) -> AsyncIterator[AsyncSigmaClnt]:
    service = S3Server(args(named, s3_endpoint))
    await service.start()
    try:
        async with AsyncSigmaClnt(ProcEnv(pid="test", kernel_id=KERNEL_ID, named=named)) as sc:
            yield sc
            await service.stop()
            assert await sc.get_dir("name/s3") == []
    finally:
        await service.stop()


async def test_an_object_by_pathname(named: Endpoint, s3_endpoint: str, boto: S3Client, bucket: str) -> None:
    boto.put_object(Bucket=bucket, Key="books/one.txt", Body=b"the one")
    async with serving(named, s3_endpoint) as sc:
        directory = f"name/s3/~any/{bucket}/books"
        assert {stat.name: stat.length for stat in await sc.get_dir(directory)} == {"one.txt": 7}
        assert await sc.get_file(f"{directory}/one.txt") == b"the one"
        async with sc.open_reader(f"{directory}/one.txt") as reader:
            assert await reader.read() == b"the one"
        large = bytes(range(256)) * (12 << 12)
        await sc.put_file(f"name/s3/~local/{bucket}/large", large)
        assert await sc.get_file(f"name/s3/{KERNEL_ID}/{bucket}/large") == large
        async with sc.create_writer(f"{directory}/two.txt") as writer:
            await writer.write(b"the two")
        spoiled = sc.create_writer(f"{directory}/three.txt")
        await spoiled.__aenter__()
        await spoiled.write(large)
        await spoiled.abort()
        assert [stat.name for stat in await sc.get_dir(directory)] == ["one.txt", "two.txt"]
        await sc.mkdir(f"{directory}/sub")
        await sc.put_file(f"{directory}/sub/three.txt", b"")
        await sc.rmdir(f"{directory}/sub")
        for name in ("one.txt", "two.txt"):
            await sc.remove(f"{directory}/{name}")
        assert [stat.name for stat in await sc.get_dir(f"name/s3/~any/{bucket}")] == ["large"]
        assert bucket in [stat.name for stat in await sc.get_dir("name/s3/~any/")]
        await sc.makedirs(f"name/s3/~any/{bucket}/new/er")
        assert await sc.is_dir(f"name/s3/~any/{bucket}/new")
        await sc.makedirs(f"name/s3/~any/{bucket}")
        await sc.mkdir(f"name/s3/~any/{bucket}-more")
        await sc.put_file(f"name/s3/~any/{bucket}-more/dir/deep/f", b"x")
        async with sc.create_writer(f"name/s3/~any/{bucket}-more/other/f") as writer:
            await writer.write(b"y")
        assert [stat.name for stat in await sc.get_dir(f"name/s3/~any/{bucket}-more")] == ["dir", "other"]
        for refused, error in (
            (sc.mkdir(f"name/s3/~any/{bucket}-more"), serr.Exists),
            (sc.mkdir("name/s3/~any/a"), serr.Inval),
            (sc.put_file("name/s3/~any/no-such-bucket/x/y", b""), serr.NotFound),
            (sc.rmdir(f"name/s3/~any/{bucket}-more"), serr.NoRemove),
            (sc.rmdir("name/s3/~any/"), serr.Inval),
            (sc.remove(f"name/s3/~any/{bucket}"), serr.NoRemove),
            (sc.rename(f"name/s3/~any/{bucket}/large", f"name/s3/~any/{bucket}/small"), serr.NotSupported),
            (sc.get_file("name/s3/~any/no-such-bucket/x"), serr.NotFound),
        ):
            with pytest.raises(error):
                await refused
        assert await sc.get_file(f"name/s3/~any/{bucket}-more/dir/deep/f") == b"x"


async def test_a_session_that_ends_drops_what_it_wrote(
    named: Endpoint, s3_endpoint: str, boto: S3Client, bucket: str
) -> None:
    async with serving(named, s3_endpoint) as sc:
        async with AsyncSigmaClnt(ProcEnv(pid="other", kernel_id=KERNEL_ID, named=named)) as other:
            fd = await other.create(f"name/s3/~local/{bucket}/file")
            await other.write(fd, bytes(9 << 20))
            await until(lambda: "Uploads" in boto.list_multipart_uploads(Bucket=bucket))
        await sc.put_file(f"name/s3/~local/{bucket}/after", b"")
    assert "Uploads" not in boto.list_multipart_uploads(Bucket=bucket)
    assert [entry["Key"] for entry in boto.list_objects_v2(Bucket=bucket)["Contents"]] == ["after"]


async def test_the_actor(named: Endpoint, s3_endpoint: str) -> None:
    def run() -> Endpoint:
        actor = S3Kernel("s3", args(named, s3_endpoint))
        endpoint, _ = actor.start(named)
        actor.stop()
        return endpoint

    assert (await asyncio.to_thread(run)).addrs[0].startswith("127.0.0.1:")


# -- errors


@pytest.mark.parametrize("code", sorted(CODES))
def test_each_code_has_its_class(code: str) -> None:
    error = boto_errors.ClientError({"Error": {"Code": code, "Message": "told"}}, "GetObject")
    translated = from_boto(error, About("key", "bucket"))
    assert type(translated) is CODES[code]
    assert translated.obj == ("bucket" if code in ("NoSuchBucket", "InvalidBucketName") else "key")
    assert translated.msg
    assert "told" in translated.msg


def test_foreign_codes_and_errors_keep_their_words() -> None:
    error = boto_errors.ClientError({"Error": {"Code": "SlowDown", "Message": "slow down"}}, "GetObject")
    assert type(from_boto(error, About("key"))) is serr.Error
    assert "slow down" in str(from_boto(error, About("key")))
    assert type(from_boto(boto_errors.DataNotFoundError(data_path="x"), About("key"))) is serr.Error


@pytest.mark.parametrize(
    ("error", "ours"),
    [
        (boto_errors.EndpointConnectionError(endpoint_url="x"), serr.Error),
        (boto_errors.ConnectTimeoutError(endpoint_url="x"), serr.Error),
        (boto_errors.ReadTimeoutError(endpoint_url="x"), serr.IOErr),
        (boto_errors.ConnectionClosedError(endpoint_url="x"), serr.IOErr),
        (boto_errors.DataNotFoundError(data_path="x"), serr.Error),
        (boto_errors.NoCredentialsError(), serr.Perm),
        (boto_errors.ProfileNotFound(profile="x"), serr.Perm),
        (boto_errors.ParamValidationError(report="x"), serr.Inval),
    ],
)
def test_errors_of_boto3_itself(error: Exception, ours: type[serr.SigmaError]) -> None:
    """Those whose fate is unknown are IOErr of a change; a read is simply not answered."""
    assert type(from_boto(error, About("key", changes=True))) is ours
    assert type(from_boto(error, About("key"))) is (serr.Error if ours is serr.IOErr else ours)


async def test_s3_that_is_away_is_told_at_once() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening: connections are refused
        store = S3Store(f"http://127.0.0.1:{taken.getsockname()[1]}", None)
        root = S3Fs(store, WatchTable()).root
        for call in (root.entries(Caller(), "", 10), root.walk(Caller(), ["b", "k"])):
            with pytest.raises(serr.Error):
                await call
        store.close()


def test_a_profile_that_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    with pytest.raises(serr.Perm, match="sigmaos-test"):
        S3Store(None, "sigmaos-test")


def test_a_profile_gives_credentials_and_endpoint(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, s3_endpoint: str
) -> None:
    (tmp_path / "credentials").write_text("[mine]\naws_access_key_id = k\naws_secret_access_key = s\n")
    (tmp_path / "config").write_text("[profile mine]\nregion = eu-west-1\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    for endpoint, host in ((None, "amazonaws.com"), (s3_endpoint, "127.0.0.1")):
        store = S3Store(endpoint, "mine")
        with store.calls._clients.use(None) as client:
            assert client.meta.region_name == "eu-west-1"
            assert host in client.meta.endpoint_url
        store.close()

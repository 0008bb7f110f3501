"""Whose credentials S3 sees (B-1), what s3 keeps through a restart, and what it does while S3 is away."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import boto3
import pytest
from moto.server import ThreadedMotoServer
from s3tree import LIMITS, ME, S3Tree, names, put, read_all, requests_of, until

from kernel.s3.fs import S3Fs
from kernel.s3.store import S3Store
from sigmaos_ray import serr
from sigmaos_ray.config import ProcEnv, Proxy
from sigmaos_ray.protsrv.node import OpenHow
from sigmaos_ray.protsrv.server import FileServer
from sigmaos_ray.protsrv.watch import WatchTable
from sigmaos_ray.rpcsrv import Caller
from sigmaos_ray.sigmaclnt import AsyncSigmaClnt
from sigmaos_ray.sigmap import DMDIR, OREAD, OWRITE, Fence, Secret
from sigmaos_ray.sigmasrv import Advertisement

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from kernel.s3.directory import S3Dir
    from sigmaos_ray.sigmap import Endpoint

MIB = 1 << 20
ALICE = Secret("s3", "alice", "word")
BOB = Secret("s3", "bob", "word", "passing")


def signers_of(tree: S3Tree, *secrets: Secret | None) -> list[str]:
    """Key ids in the requests that S3 gets from now on, and session tokens behind them."""
    signers: list[str] = []

    def note(request: object, **_: object) -> None:
        headers = request.headers  # type: ignore[attr-defined]
        key_id = headers["Authorization"].decode().partition("Credential=")[2].partition("/")[0]
        token = headers.get("X-Amz-Security-Token", b"").decode()
        signers.append(f"{key_id} {token}".strip())

    for secret in secrets:
        with tree.fs.shared.store.calls._clients.use(secret) as client:
            client.meta.events.register("before-send.s3", note)
    return signers


# -- credentials


async def test_each_caller_asks_s3_with_what_he_shows(tree: S3Tree) -> None:
    tree.upload("dir/file")
    signers = signers_of(tree, None, ALICE, BOB)
    for caller, key_id in (
        (Caller(secrets=(ALICE,)), "alice"),
        (Caller(secrets=(Secret("db", "x", "y"), BOB)), "bob passing"),
        (Caller(secrets=(Secret("db", "x", "y"),)), "sigmaos"),
    ):
        signers.clear()
        way = await tree.fs.root.walk(caller, [tree.bucket, "dir", "file"])
        await way[-1].stat(caller)
        file = await way[-1].open(caller, OpenHow(OREAD))
        assert await file.read(0, 10) == b"dir/file"
        await file.close()
        assert await tree.fs.root.get(caller, [tree.bucket, "dir", "file"], 4, 10) == b"file"
        await tree.dir("dir").entries(caller, "", 10)
        await tree.fs.root.entries(caller, "", 10)
        _, writer = await tree.top.create(caller, "made", OpenHow(OWRITE, 0o777))
        assert writer
        await writer.write(0, bytes(6 * MIB))
        await writer.close()
        directory, _ = await tree.top.create(caller, "below", OpenHow(OREAD, DMDIR | 0o777))
        await directory.put(caller, "x", b"x", OpenHow(OWRITE, 0o777))  # type: ignore[attr-defined]
        await directory.remove_all(caller)  # type: ignore[attr-defined]
        await (await tree.top.lookup(caller, "made")).remove(caller)
        assert set(signers) == {key_id}


async def test_who_shows_nothing_may_be_refused(s3_endpoint: str, bucket: str) -> None:
    store = S3Store(s3_endpoint, None, Proxy(s3_own_credentials=False))
    root = S3Fs(store, WatchTable()).root
    for call in (root.entries(ME, "", 10), root.walk(ME, [bucket]), root.get(ME, [bucket, "k"], 0, 1)):
        with pytest.raises(serr.Perm, match="SIGMAOS_S3_KEY"):
            await call
    assert bucket in [stat.name for stat in await root.entries(Caller(secrets=(ALICE,)), "", 4096)]
    store.close()


@asynccontextmanager
async def served(tree: S3Tree, named: Endpoint) -> AsyncIterator[None]:
    server = FileServer(tree.fs.root, tree.watches, fences=tree.fs.fences)
    endpoint = await server.start()
    async with AsyncSigmaClnt(ProcEnv(pid="s3", named=named)) as sc:
        advertisement = Advertisement(sc, "name/s3/node", endpoint, replace=True)
        await advertisement.start()
        try:
            yield
        finally:
            await advertisement.stop()
    await server.stop()


async def test_a_client_shows_its_secrets(tree: S3Tree, named: Endpoint) -> None:
    tree.upload("file", data=b"contents")
    signers = signers_of(tree, None, ALICE)
    async with served(tree, named):
        for secrets, key_id in (((ALICE,), "alice"), ((), "sigmaos")):
            signers.clear()
            async with AsyncSigmaClnt(ProcEnv(pid="client", named=named, secrets=secrets)) as sc:
                assert await sc.get_file(f"name/s3/~any/{tree.bucket}/file") == b"contents"
            assert set(signers) == {key_id}


async def test_restricted_credentials_see_what_they_may(
    tree: S3Tree, s3_endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree.upload("file", data=b"mine")
    tree.boto.create_bucket(Bucket=f"{tree.bucket}-other")
    tree.boto.put_object(Bucket=f"{tree.bucket}-other", Key="file", Body=b"theirs")
    mine = restricted_to(tree.bucket, s3_endpoint)
    monkeypatch.setattr("moto.settings.INITIAL_NO_AUTH_ACTION_COUNT", 0)
    caller, stranger = Caller(secrets=(mine,)), Caller(secrets=(Secret("s3", "stranger", "word"),))
    root = tree.fs.root
    assert await read_all((await root.walk(caller, [tree.bucket, "file"]))[-1], caller) == b"mine"
    for who, way in ((caller, [f"{tree.bucket}-other", "file"]), (stranger, [tree.bucket, "file"])):
        with pytest.raises(serr.Perm):
            await root.walk(who, way)
        with pytest.raises(serr.Perm):
            await root.get(who, way, 0, 10)


def restricted_to(bucket: str, endpoint: str) -> Secret:
    """Credentials that may use one bucket and nothing else."""
    iam = boto3.client(
        "iam", endpoint_url=endpoint, aws_access_key_id="t", aws_secret_access_key="t", region_name="us-east-1"
    )
    resources = [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": resources}]}
    iam.create_user(UserName=bucket)
    iam.put_user_policy(UserName=bucket, PolicyName="one-bucket", PolicyDocument=json.dumps(policy))
    access_key = iam.create_access_key(UserName=bucket)["AccessKey"]
    iam.close()
    return Secret("s3", access_key["AccessKeyId"], access_key["SecretAccessKey"])


# -- large objects


async def test_a_large_object_goes_up_and_comes_back_within_its_share_of_memory(s3_endpoint: str, bucket: str) -> None:
    limits = Proxy(s3_threads=8, s3_part_bytes=5 * MIB, s3_range_bytes=4 * MIB, s3_ahead_bytes_max=12 * MIB)
    store = S3Store(s3_endpoint, None, limits)
    fs = S3Fs(store, WatchTable())
    top = (await fs.root.walk(ME, [bucket]))[-1]
    data = b"".join(number.to_bytes(8, "big") for number in range(64 * MIB // 8))
    _, writer = await top.create(ME, "large", OpenHow(OWRITE, 0o777))  # type: ignore[attr-defined]
    held = []
    for offset in range(0, len(data), MIB):
        await writer.write(offset, data[offset : offset + MIB])
        held.append(fs.shared.budget.used_bytes)
    await writer.close()
    readers = [await (await top.lookup(ME, "large")).open(ME, OpenHow(OREAD)) for _ in range(3)]  # type: ignore[attr-defined]

    async def read(number: int) -> bool:
        came = []
        for offset in range(0, len(data), MIB):
            came.append(await readers[number].read(offset, MIB))
            held.append(fs.shared.budget.used_bytes)
        return b"".join(came) == data

    assert all(await asyncio.gather(*(read(number) for number in range(3))))
    must = 3 * (4 * MIB + 4 * MIB)  # each reader's own range, and what stays behind it
    assert max(held) <= 12 * MIB + must
    for reader in readers:
        await reader.close()
    assert fs.shared.budget.used_bytes == 0
    await fs.close()
    store.close()


async def test_a_sequential_reader_has_several_requests_under_way(tree: S3Tree) -> None:
    tree.upload("file", data=bytes(48 * MIB))
    file = await (await tree.top.lookup(ME, "file")).open(ME, OpenHow(OREAD))
    most = 0
    for offset in range(0, 48 * MIB, MIB):
        await file.read(offset, MIB)
        running = sum(1 for task in asyncio.all_tasks() if task.get_name().startswith("s3-read-"))
        most = max(most, running)
    assert most >= 2
    await file.close()
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("s3-read-")]


async def test_a_whole_small_file_is_one_request(tree: S3Tree) -> None:
    tree.upload("a/b/file", data=b"contents")
    requests = requests_of(tree)
    assert await tree.fs.root.get(ME, [tree.bucket, "a", "b", "file"], 0, MIB) == b"contents"
    assert requests == ["GetObject"]
    assert await tree.fs.root.get(ME, [tree.bucket, "a", "b", "file"], 8, MIB) == b""
    for missing in (["a", "no"], ["a", "~any", "b"], ["a", "_._"], ["\ufffd"], ["x" * 2000], []):
        assert await tree.fs.root.get(ME, [tree.bucket, *missing], 0, MIB) is None


# -- removing all


async def test_a_directory_goes_with_all_that_is_below(tree: S3Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kernel.s3.requests.LIST_KEYS_MAX", 4)
    tree.upload("d/_._", *(f"d/{number}/x" for number in range(9)), "d-/stays", "d0")
    watch, above = (tree.watches.add(tree.dir(name).qid().path) for name in ("d/3", "d"))
    await tree.dir("d").remove_all(ME)
    assert tree.keys() == ["d-/stays", "d0"]
    assert [event.name for event in await watch.read()] == ["x"]
    assert [event.name for event in await above.read()] == [str(number) for number in range(9)]
    for each in (watch, above):
        with pytest.raises(serr.Closed):
            await each.read()
    with pytest.raises(serr.NotFound):
        await tree.dir("d").remove_all(ME)
    with pytest.raises(serr.NoRemove):
        await (await tree.fs.root.lookup(ME, tree.bucket)).remove_all(ME)  # type: ignore[attr-defined]


async def test_what_no_pathname_leads_to_is_not_removed(tree: S3Tree) -> None:
    tree.upload("d/a", "d//hidden", "d/b/../c", "d/~any/x")
    assert await names(tree.dir("d")) == ["a", "b"]
    with pytest.raises(serr.NotEmpty, match="no pathname"):
        await tree.dir("d").remove_all(ME)
    assert tree.keys() == ["d//hidden", "d/b/../c", "d/~any/x"]
    with pytest.raises(serr.NotEmpty):
        await tree.dir("d").remove(ME)


# -- restarts


async def test_a_new_server_refuses_who_was_deposed(s3_endpoint: str, bucket: str, tmp_path: Path) -> None:
    old, new = Fence("name/elect", 1), Fence("name/elect", 2)
    store = S3Store(s3_endpoint, None, LIMITS)
    for fence in (new, old):
        top = (await S3Fs(store, WatchTable(), tmp_path).root.walk(ME, [bucket]))[-1]
        how = OpenHow(OWRITE, 0o777, fence=fence)
        if fence is old:
            with pytest.raises(serr.Stale):
                await top.put(ME, "file", b"old", how)  # type: ignore[attr-defined]
        else:
            await top.put(ME, "file", b"new", how)  # type: ignore[attr-defined]
        assert await read_all(await top.lookup(ME, "file")) == b"new"  # type: ignore[attr-defined]
    store.close()


async def test_a_new_server_drops_what_the_last_one_left_half_sent(tree: S3Tree, tmp_path: Path) -> None:
    first = S3Fs(tree.fs.shared.store, WatchTable(), tmp_path)
    top: S3Dir = (await first.root.walk(ME, [tree.bucket]))[-1]  # type: ignore[assignment]
    _, writer = await top.create(ME, "file", OpenHow(OWRITE, 0o777))
    assert writer
    await writer.write(0, bytes(6 * MIB))
    await until(lambda: len(first.shared.uploads) == tree.uploads_under_way() == 1)
    following = S3Fs(tree.fs.shared.store, WatchTable(), tmp_path)
    following.drop_abandoned_uploads()
    await until(lambda: len(following.shared.uploads) == 0)
    assert tree.uploads_under_way() == 0
    await following.close()
    await writer.abort()


# -- S3 away and back


async def test_s3_that_goes_and_comes_back() -> None:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    store = S3Store(f"http://{host}:{port}", None, LIMITS)
    fs = S3Fs(store, WatchTable())
    client = boto3.client(
        "s3",
        endpoint_url=f"http://{host}:{port}",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        region_name="us-east-1",
    )
    client.create_bucket(Bucket="away")
    client.close()
    top: S3Dir = (await fs.root.walk(ME, ["away"]))[-1]  # type: ignore[assignment]
    await put(top, "file", b"before")
    _, writer = await top.create(ME, "slow", OpenHow(OWRITE, 0o777))
    assert writer
    await writer.write(0, b"kept")
    await asyncio.to_thread(server.stop)
    with pytest.raises(serr.Error):
        await top.lookup(ME, "file")
    with pytest.raises(serr.SigmaError):
        await put(top, "file", b"lost")
    again = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
    pending = asyncio.create_task(top.lookup(ME, "file"))  # begins before S3 is back, and needs not be asked again
    await asyncio.to_thread(again.start)
    assert await read_all(await pending) == b"before"
    await writer.close()
    assert await read_all(await top.lookup(ME, "slow")) == b"kept"
    await fs.close()
    store.close()
    await asyncio.to_thread(again.stop)

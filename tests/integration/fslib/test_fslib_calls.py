"""Calls on files and directories that need no second server."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import msgspec
import pytest
from fslib_servers import until

from sigmaos_ray import serr
from sigmaos_ray.config import LOCAL
from sigmaos_ray.fslib import names, present
from sigmaos_ray.leaseclnt import AsyncLeaseClnt
from sigmaos_ray.pb.rpc_pb2 import AskLeaseReply, AskLeaseRequest, RpcRequest
from sigmaos_ray.sigmap import DMDEVICE, DMNAMEDPIPE, OAPPEND, ORDWR, OREAD, OWRITE, Endpoint, Fence

if TYPE_CHECKING:
    from pathlib import Path

    from fslib_servers import Servers

    from sigmaos_ray.fslib import AsyncFsLib
    from sigmaos_ray.sigmap import Stat


async def test_the_lowest_free_fd(sc: AsyncFsLib) -> None:
    await sc.put_file("name/f", b"")
    fds = [await sc.open("name/f") for _ in range(4)]
    assert fds == [0, 1, 2, 3]
    await sc.close_fd(2)
    await sc.close_fd(1)
    assert [await sc.open("name/f") for _ in range(3)] == [1, 2, 4]
    for call in (sc.read(9, 1), sc.write(9, b""), sc.close_fd(9), sc.seek(9, 0)):
        with pytest.raises(serr.NotFound):
            await call


async def test_offsets(sc: AsyncFsLib) -> None:
    """Seek, positional reads, appends."""
    fd = await sc.create("name/f", mode=ORDWR)
    await sc.write(fd, b"hello")
    await sc.seek(fd, 1)
    assert await sc.read(fd, 2) == b"el"
    assert await sc.pread(fd, 10, 3) == b"lo"
    assert await sc.read(fd, 10) == b"lo"
    assert await sc.read(fd, 10) == b""
    append = await sc.open("name/f", OWRITE | OAPPEND)
    await sc.seek(append, 0)
    await sc.write(append, b"!")
    await sc.write(fd, b"?")  # at its own offset, over the "!"
    assert await sc.get_file("name/f") == b"hello?"
    for offset in (-1,):
        with pytest.raises(serr.Inval):
            await sc.seek(fd, offset)


async def test_tasks_that_share_an_fd_each_get_their_own_part(sc: AsyncFsLib) -> None:
    """F-1."""
    fd = await sc.create("name/f", mode=ORDWR)
    await asyncio.gather(*(sc.write(fd, b"%02d" % number) for number in range(50)))
    data = await sc.get_file("name/f")
    assert sorted(data[at : at + 2] for at in range(0, 100, 2)) == [b"%02d" % number for number in range(50)]
    await sc.seek(fd, 0)
    parts = await asyncio.gather(*(sc.read(fd, 2) for _ in range(50)))
    assert b"".join(parts) == data


async def test_large_reads_through_an_fd(sc: AsyncFsLib) -> None:
    data = os.urandom((3 << 20) + 5)
    await sc.put_file("name/f", data)
    fd = await sc.open("name/f")
    assert await sc.read(fd, len(data) + 9) == data
    assert await sc.pread(fd, 2 << 20, 7) == data[7 : 7 + (2 << 20)]
    assert await sc.get_file("name/f") == data


async def test_one_call_on_a_device(servers: Servers, sc: AsyncFsLib) -> None:
    """R-3."""
    fd = await sc.open("name/rpc/clone", ORDWR)
    call = [RpcRequest(method="LeaseSrv.AskLease"), AskLeaseRequest(ttl_s=5)]
    failed, reply = await sc.write_read(fd, [frame.SerializeToString() for frame in call])
    assert not failed
    assert AskLeaseReply.FromString(reply).ttl_s == 5
    file = await sc.create("name/f", mode=ORDWR)
    with pytest.raises(serr.NotSupported):
        await sc.write_read(file, [b"a", b"b"])


async def test_leased_files(sc: AsyncFsLib) -> None:
    """A lease or its number; and a fence of their own."""
    lease = await AsyncLeaseClnt(sc).ask_lease("name/f")
    for name, given in (("f", lease), ("g", lease.id)):
        fd = await sc.create_leased(f"name/{name}", 0o777, OWRITE, given, Fence("name/l", 2))
        await sc.write(fd, b"mine")
        await sc.close_fd(fd)
    with pytest.raises(serr.Stale):
        await sc.create_leased("name/h", 0o777, OWRITE, lease, Fence("name/l", 1))
    for wrong in (None, 0, "lease", True):
        with pytest.raises(serr.Inval, match="not a lease"):
            await sc.create_leased("name/h", 0o777, OWRITE, wrong)
    await sc.mk_leased_endpoint("name/e", Endpoint(addrs=("h:1",)), lease)
    with pytest.raises(serr.Exists):
        await sc.mk_leased_endpoint("name/e", Endpoint(addrs=("h:1",)), lease)
    made = await sc.create_leader_file("name/a/b/leader", b"who", lease, Fence("name/l", 2))
    assert (await sc.stat("name/a/b/leader")).qid == made
    assert (await sc.stat("name/a/b/leader")).mode & DMDEVICE
    assert await sc.get_file("name/a/b/leader") == b"who"
    with pytest.raises(serr.Exists):
        await sc.create_leader_file("name/a/b/leader", b"other", lease)
    await lease.end()
    assert names(await sc.get_dir("name/"))[3:] == ["a"]
    assert await sc.get_dir("name/a/b") == []


async def test_endpoint_files(sc: AsyncFsLib) -> None:
    one, two = Endpoint(addrs=("h:1",)), Endpoint(addrs=("h:2", "h:22"), root="d")
    await sc.mk_endpoint_file("name/e", one)
    with pytest.raises(serr.Exists):
        await sc.mk_endpoint_file("name/e", two)
    assert await sc.read_endpoint("name/e/") == one
    await sc.write_endpoint_file("name/e", two)
    assert await sc.read_endpoint("name/e") == two
    await sc.put_file("name/f", b"text")
    with pytest.raises(serr.Inval, match="not an endpoint"):
        await sc.read_endpoint("name/f")


async def test_json_files(sc: AsyncFsLib) -> None:
    await sc.put_file_json("name/j", {"a": [1, 2, 3]})
    await sc.set_file_json("name/j", [1])
    assert await sc.get_file_json("name/j") == [1]
    await sc.set_file_json("name/new", None)
    assert await sc.get_file_json("name/new") is None
    await sc.put_file_json_atomic("name/j", "x" * (2 << 20))
    assert len(await sc.get_file_json("name/j")) == 2 << 20
    with pytest.raises(serr.Inval):
        await sc.put_file_json_atomic("name/j", object())


async def test_mkdir_path(sc: AsyncFsLib) -> None:
    """Existing ones are fine, but for the last."""
    await sc.mkdir_path("name", "a/b/c")
    await sc.mkdir_path("name/a", "b/d")
    assert names(await sc.get_dir("name/a/b")) == ["c", "d"]
    with pytest.raises(serr.Exists):
        await sc.mkdir_path("name", "a/b")
    with pytest.raises(serr.NotFound):
        await sc.mkdir_path("name/missing", "a")


async def test_makedirs(servers: Servers, sc: AsyncFsLib) -> None:
    """What nobody can make is there or is not: a root, a server, a union."""
    await sc.makedirs("name")
    await sc.makedirs("name/a/b/")
    assert await sc.is_dir("name/a/b")
    await sc.makedirs("name/a/b")
    assert sc.stats()["sp"]["stat"] == 3, "one that is there is looked at, and nothing above it"
    with pytest.raises(serr.NotFound):
        await sc.makedirs("elsewhere/a")
    await sc.mk_endpoint_file("name/srv", (await servers.another()).endpoint)
    await sc.makedirs("name/srv")
    await sc.makedirs("name/srv/c/d")
    await sc.makedirs("name/~any")
    await sc.makedirs("name/~any/c/e")
    assert names(await sc.get_dir("name/srv/c")) == ["d", "e"]
    await sc.mkdir("name/ux")
    with pytest.raises(serr.NotFound):
        await sc.makedirs("name/ux/a-node-that-went/d")
    impatient = msgspec.structs.replace(LOCAL, walk=msgspec.structs.replace(LOCAL.walk, patience_s=0.0))
    with pytest.raises(serr.NotFound):
        await servers.clnt(config=impatient).makedirs("name/a/~any/b")


async def test_makedirs_follows_links(sc: AsyncFsLib) -> None:
    """A link to a directory is one; one that leads nowhere is not made good."""
    await sc.mkdir("name/d")
    await sc.symlink("name/d", "name/l")
    await sc.makedirs("name/l")
    await sc.makedirs("name/l/e/f")
    assert await sc.is_dir("name/d/e/f")
    await sc.symlink("name/nowhere", "name/m")
    for pn in ("name/m", "name/m/e"):
        with pytest.raises(serr.NotFound):
            await sc.makedirs(pn)
    assert present(await sc.get_dir("name"), ["d", "l", "m"])


async def test_makedirs_under_a_fence(sc: AsyncFsLib, servers: Servers) -> None:
    """Directories are changes like others: of a deposed leader they are refused."""
    await sc.mkdir("name/d")
    newer = servers.clnt()
    await newer.fence_dir("name/d", Fence("name/lead", 2))
    await newer.makedirs("name/d/new")
    await sc.fence_dir("name/d", Fence("name/lead", 1))
    with pytest.raises(serr.Stale):
        await sc.makedirs("name/d/a/b")
    assert names(await sc.get_dir("name/d")) == ["new"]


async def test_process_dir(sc: AsyncFsLib) -> None:
    """F-4: in order of name, until it returns true or raises."""
    await sc.mkdir("name/d")
    for name in "cab":
        await sc.put_file(f"name/d/{name}", b"")
    seen: list[str] = []

    async def until_b(stat: Stat) -> bool:
        seen.append(stat.name)
        return stat.name == "b"

    assert await sc.process_dir("name/d", until_b)
    assert seen == ["a", "b"]

    def never(stat: Stat) -> bool:
        seen.append(stat.name)
        return False

    assert not await sc.process_dir("name/d", never)
    assert seen[2:] == ["a", "b", "c"]

    def refuse(stat: Stat) -> bool:
        raise KeyError(stat.name)

    with pytest.raises(KeyError):
        await sc.process_dir("name/d", refuse)


async def test_copies_and_moves(servers: Servers, sc: AsyncFsLib) -> None:
    server = await servers.another()
    await sc.mk_endpoint_file("name/srv", server.endpoint)
    await sc.mkdir("name/d")
    await sc.mkdir("name/d/inner")
    await sc.put_file("name/d/f", b"f")
    await sc.put_file("name/d/g", bytes(2 << 20))
    await sc.symlink("name/d/f", "name/d/link")
    assert await sc.copy_dir("name/d", "name/srv/") == 3
    assert await sc.get_file("name/srv/f") == b"f"
    assert await sc.get_file("name/srv/link") == b"name/d/f"
    with pytest.raises(serr.Exists):
        await sc.copy_dir("name/d", "name/srv/")
    with pytest.raises(serr.NotFound):
        await sc.copy_dir("name/d", "name/missing")
    await sc.mkdir("name/e")
    assert await sc.move_dir_entries("name/d", "name/e") == 4
    assert await sc.get_dir("name/d") == []
    assert names(await sc.get_dir("name/e")) == ["f", "g", "inner", "link"]
    with pytest.raises(serr.Inval):
        await sc.move_dir_entries("name/e", "name/srv/")
    tree = await sc.sprint_dir("name/e")
    assert tree == "name/e\n  f 1\n  g 2097152\n  inner/\n  link@ 8\n"
    await sc.rmdir("name/e")
    assert await sc.get_file("name/srv/f") == b"f"


async def test_uploads(sc: AsyncFsLib, tmp_path: Path) -> None:
    data = os.urandom((2 << 20) + 3)
    (tmp_path / "d" / "inner").mkdir(parents=True)
    (tmp_path / "d" / "big").write_bytes(data)
    (tmp_path / "d" / "inner" / "f").write_bytes(b"f")
    (tmp_path / "d" / "link").symlink_to(tmp_path / "d" / "inner" / "f")
    assert await sc.upload_file(tmp_path / "d" / "big", "name/big") == len(data)
    assert await sc.get_file("name/big") == data
    await sc.upload_file(str(tmp_path / "d" / "link"), "name/big")
    assert await sc.get_file("name/big") == b"f"
    assert await sc.upload_dir(tmp_path / "d", "name/d") == 3
    assert names(await sc.get_dir("name/d")) == ["big", "inner", "link"]
    assert await sc.get_file("name/d/inner/f") == await sc.get_file("name/d/link") == b"f"
    with pytest.raises(serr.Exists):
        await sc.upload_dir(tmp_path / "d", "name/d")
    with pytest.raises(serr.NotFound):
        await sc.upload_file(tmp_path / "missing", "name/x")
    with pytest.raises(serr.IsDir):
        await sc.upload_file(tmp_path / "d", "name/x")
    with pytest.raises(serr.NotDir):
        await sc.upload_dir(tmp_path / "d" / "big", "name/x")
    (tmp_path / "d" / "inner" / "up").symlink_to(tmp_path / "d")
    with pytest.raises(serr.Inval, match="leads back up"):
        await sc.upload_dir(tmp_path / "d", "name/loop")


async def test_a_walk_that_nobody_waits_for_leaves_no_fid(servers: Servers, sc: AsyncFsLib) -> None:
    """A caller that is cancelled in the middle of a walk: its fid is freed all the same."""
    await sc.put_file("name/f", b"")
    before = servers.root.stats.fid_count
    for turns in range(12):
        opening = asyncio.create_task(sc.stat("name/f/x/../../f/"))
        walking = asyncio.create_task(sc.core.open_fid("name/f", OREAD))
        for _ in range(turns):
            await asyncio.sleep(0)
        for task in (opening, walking):
            task.cancel()
        done = await asyncio.gather(opening, walking, return_exceptions=True)
        if not isinstance(done[1], BaseException):
            await done[1].clunk()
    await until(lambda: servers.root.stats.fid_count == before)


async def test_new_pipe(sc: AsyncFsLib) -> None:
    """R-12: made unopened; either end waits for the other."""
    await sc.new_pipe("name/p", 0o600)
    assert (await sc.stat("name/p")).mode == DMNAMEDPIPE | 0o600
    with pytest.raises(serr.Exists):
        await sc.new_pipe("name/p")
    with pytest.raises(serr.Inval):
        await sc.open("name/p", ORDWR)
    reading = asyncio.create_task(sc.open("name/p", OREAD))
    w = await sc.open("name/p", OWRITE)
    r = await reading
    await sc.write(w, b"hello")
    assert await sc.read(r, 100) == b"hello"
    await sc.close_fd(w)
    with pytest.raises(serr.Closed):
        await sc.read(r, 100)


async def test_a_file_of_json_that_is_still_to_come(sc: AsyncFsLib) -> None:
    waiting = asyncio.create_task(sc.get_file_json_watch("name/f", timeout_s=20))
    await until(lambda: sc.stats()["sp"].get("watch", 0) >= 1)
    await sc.put_file_json("name/f", {"there": [1, None]})
    assert await waiting == {"there": [1, None]}
    with pytest.raises(serr.Timeout):
        await sc.get_file_json_watch("name/none", timeout_s=0)


async def test_a_put_that_fails_leaves_a_file_on_its_lease(sc: AsyncFsLib) -> None:
    """Neither its contents nor what it hangs on is changed."""
    leases = AsyncLeaseClnt(sc)
    first, second = await leases.ask_lease("name/f"), await leases.ask_own_lease("name/f")
    await sc.put_leased_file("name/f", b"first", first)
    too_far = LOCAL.store.memfs_file_bytes_max
    mount, rest = await sc.core.mounts.longest(["name", "f"], exact=False)
    with pytest.raises(serr.Inval):
        await mount.fid.put_file(rest, b"x", perm=0o777, mode=OWRITE, offset=too_far, resolve=False, lease=second.id)
    await second.end()
    assert await sc.get_file("name/f") == b"first"
    await first.end()
    with pytest.raises(serr.NotFound):
        await sc.stat("name/f")

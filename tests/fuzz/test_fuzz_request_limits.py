"""What one request may ask for, and what a server keeps for its clients: each limit has its error, which says it."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Any

import pytest
from fuzzservers import CONFIG, memfs
from msgspec.structs import replace
from rawsession import RawSession, reached

from sigmaos_ray import config, serr
from sigmaos_ray.config import ProcEnv
from sigmaos_ray.fslib import AsyncFsLib
from sigmaos_ray.pb import sigmap_pb2 as pb
from sigmaos_ray.pb.rpc_pb2 import AskLeaseRequest, RpcReply, RpcRequest
from sigmaos_ray.pb.sessp_pb2 import Reply, Request
from sigmaos_ray.sessp import wire
from sigmaos_ray.sigmap import NO_OFFSET, ORDWR, OREAD, OTRUNC, OWRITE

if TYPE_CHECKING:
    from sigmaos_ray.protsrv.server import FileServer

IO_MAX = CONFIG.wire.io_bytes_max


def error_of(reply: Reply) -> serr.SigmaError:
    assert reply.HasField("error"), reply
    return wire.error_from_pb(reply.error)


def changed(**parts: dict[str, Any]) -> config.Config:
    return replace(CONFIG, **{name: replace(getattr(CONFIG, name), **values) for name, values in parts.items()})


async def one_reply(request: Request, server_config: config.Config = CONFIG) -> Reply:
    """Of a memfs with fid 0 at its root, fid 1 an open file, fid 2 the RPC device."""
    async with memfs(server_config) as server, RawSession(server.endpoint, 1) as session:
        await prepare(session)
        reply = await session.call(request)
        assert (await session.call(Request(stat=pb.Tstat(fid=0)))).HasField("stat")
        return reply


async def prepare(session: RawSession) -> None:
    await session.attach(0)
    for request in (
        Request(walk=pb.Twalk(fid=0, newfid=1)),
        Request(create=pb.Tcreate(fid=1, name="f", perm=0o777, mode=ORDWR, data=b"contents")),
        Request(walk=pb.Twalk(fid=0, newfid=2, names=["rpc", "clone"])),
        Request(open=pb.Topen(fid=2, mode=ORDWR)),
    ):
        reply = await session.call(request)
        assert not reply.HasField("error"), reply


def put(**fields: Any) -> Request:
    usual: dict[str, Any] = {"fid": 0, "names": ["g"], "mode": OWRITE, "perm": 0o777}
    return Request(putfile=pb.Tputfile(**(usual | fields)))


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        (Request(walk=pb.Twalk(fid=0, newfid=9, names=["a"] * 257)), "over 256 components"),
        (Request(walk=pb.Twalk(fid=0, newfid=9, names=["a" * 300] * 256)), "a path has at most 65536"),
        (Request(attach=pb.Tattach(fid=9, aname="/".join(["a"] * 257))), "over 256 components"),
        (Request(attach=pb.Tattach(fid=9, token="x" * 20_000)), "of 20000 bytes: they have at most 16384"),
        (Request(write=pb.Twrite(fid=1, data=bytes(IO_MAX + 1))), f"one request has at most {IO_MAX}"),
        (Request(write=pb.Twrite(fid=1, offset=1 << 63, data=b"x")), f"ends at {(1 << 63) - 1} at the latest"),
        (Request(write=pb.Twrite(fid=1, offset=(1 << 63) - 1, data=b"x")), "ends at"),
        (Request(write=pb.Twrite(fid=1, offset=NO_OFFSET - 1, data=b"x")), "ends at"),
        (Request(write=pb.Twrite(fid=1, offset=1 << 40, data=b"x")), "a file in memory has at most 1073741824"),
        (Request(read=pb.Tread(fid=1, offset=NO_OFFSET, count=1)), "ends at"),
        (Request(getfile=pb.Tgetfile(fid=0, names=["f"], offset=1 << 63, count=1)), "ends at"),
        (Request(getfile=pb.Tgetfile(fid=0, names=["f"], mode=0x100, count=1)), "no such mode: 0x100"),
        (Request(open=pb.Topen(fid=0, mode=1 << 31)), "no such mode: 0x80000000"),
        (Request(create=pb.Tcreate(fid=0, name="x", mode=0x08)), "no such mode: 0x8"),
        (Request(create=pb.Tcreate(fid=0, name="x", perm=1 << 16)), "no such kind of file"),
        (Request(create=pb.Tcreate(fid=0, name="x" * 256)), "at most 255 bytes, this one 256"),
        (Request(create=pb.Tcreate(fid=0, name="x", data=bytes(IO_MAX + 1))), f"one request has at most {IO_MAX}"),
        (Request(create=pb.Tcreate(fid=1, name="x")), "not a directory"),
        (put(data=bytes(IO_MAX + 1)), f"one request has at most {IO_MAX}"),
        (put(offset=1 << 40), "a file in memory has at most 1073741824"),
        (put(offset=NO_OFFSET), "go together"),
        (put(mode=OWRITE | 0x200), "no such mode: 0x201"),
        (put(fence=pb.Fence(pathname="x" * 2000, epoch=1)), "2000 bytes: a fence's pathname has at most 1024"),
        (Request(writeread=pb.Twriteread(fid=2, frames=[b""] * 65)), "65 frames: a call has at most 64"),
    ],
)
async def test_what_a_request_may_not_ask_for(request_: Request, text: str) -> None:
    error = error_of(await one_reply(request_))
    assert isinstance(error, serr.Inval | serr.NotDir)
    assert text in str(error)


@pytest.mark.parametrize(
    ("request_", "length"),
    [
        (Request(read=pb.Tread(fid=1, offset=0, count=(1 << 32) - 1)), 8),
        (Request(read=pb.Tread(fid=1, offset=(1 << 63) - 1, count=(1 << 32) - 1)), 0),
        (Request(read=pb.Tread(fid=1, offset=8, count=1)), 0),
        (Request(getfile=pb.Tgetfile(fid=0, names=["f"], count=(1 << 32) - 1)), 8),
    ],
)
async def test_reads_past_the_end_are_empty(request_: Request, length: int) -> None:
    reply = await one_reply(request_)
    assert len(reply.read.data or reply.getfile.data) == length


def call(method: str, argument: bytes = b"", timeout_s: float = 0.0) -> Request:
    header = RpcRequest(method=method, timeout_s=timeout_s).SerializeToString()
    return Request(writeread=pb.Twriteread(fid=2, frames=[header, argument]))


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        (call("No.Such"), "file not found: No.Such (no such RPC method)"),
        (call("LeaseSrv._keeper"), "file not found"),
        (call("LeaseSrv.AskLease", b"\xff\xff"), "not a AskLeaseRequest"),
        (call("LeaseSrv.AskLease", timeout_s=math.nan), "a time-out of nan s"),
        (call("LeaseSrv.AskLease", timeout_s=-1.0), "a time-out of -1.0 s"),
        (call("LeaseSrv.AskLease", AskLeaseRequest(ttl_s=math.nan).SerializeToString()), "a lease of nan s"),
        (call("LeaseSrv.AskLease", AskLeaseRequest(ttl_s=-math.inf).SerializeToString()), "a lease of -inf s"),
        (Request(writeread=pb.Twriteread(fid=2, frames=[b"\xff\xff", b""])), "not an RpcRequest"),
        (Request(writeread=pb.Twriteread(fid=2, frames=[])), "a call has two frames"),
    ],
)
async def test_calls_that_cannot_be(request_: Request, text: str) -> None:
    frames = (await one_reply(request_)).writeread.frames
    assert text in str(wire.error_from_pb(RpcReply.FromString(frames[0]).error))


@pytest.mark.parametrize("timeout_s", [math.inf, 1e300, 5e-324])
async def test_calls_with_absurd_time_outs_end(timeout_s: float) -> None:
    """The longest is cut to a week; the shortest is over before it begins."""
    argument = AskLeaseRequest(ttl_s=math.inf).SerializeToString()
    assert (await one_reply(call("LeaseSrv.AskLease", argument, timeout_s))).HasField("writeread")


async def test_methods_that_nobody_has_do_not_fill_the_counters() -> None:
    async with memfs() as server, RawSession(server.endpoint, 1) as session:
        await prepare(session)
        await session.answered(*(await session.ask(*(call(f"No.Such{number}") for number in range(100)))))
        assert server.stats.rpcs == {"?": 100}


# -- what a server keeps


async def test_a_directory_has_at_most_so_many_entries() -> None:
    """NoCreate, which says the limit; also for a rename that would add one, not for one that replaces."""
    async with memfs(changed(store={"dir_entries_max": 3})) as server:
        sc = AsyncFsLib(ProcEnv(pid="test", named=server.endpoint))
        await sc.mkdir("name/d")
        for name in ("a", "b", "c"):
            await sc.put_file(f"name/d/{name}", b"")
        await sc.put_file("name/e", b"")
        for refused in (sc.put_file("name/d/e", b""), sc.mkdir("name/d/e"), sc.rename("name/e", "name/d/e")):
            with pytest.raises(serr.NoCreate, match="a directory has at most 3 entries"):
                await refused
        await sc.rename("name/e", "name/d/a")
        await sc.rename("name/d/b", "name/d/e")
        assert [stat.name for stat in await sc.get_dir("name/d")] == ["a", "c", "e"]
        await sc.close_fs()


async def test_a_memfs_has_so_much_room() -> None:
    """What is removed makes room, once nobody has it open."""
    limits = changed(store={"memfs_bytes_max": 100_000, "memfs_file_bytes_max": 60_000})
    async with memfs(limits) as server:
        sc = AsyncFsLib(ProcEnv(pid="test", named=server.endpoint))
        with pytest.raises(serr.Inval, match="60001 bytes: a file in memory has at most 60000"):
            await sc.put_file("name/a", bytes(60_001))
        assert not [stat for stat in await sc.get_dir("name") if stat.name == "a"]
        await sc.put_file("name/a", bytes(60_000))
        full = pytest.raises(serr.Error, match="the files of this server have at most 100000 bytes")
        with full:
            await sc.put_file("name/b", bytes(39_000))
        fd = await sc.open("name/a", ORDWR)
        await sc.remove("name/a")
        with full:
            await sc.put_file("name/b", bytes(39_000))
        await sc.close_fd(fd)
        await sc.put_file("name/b", bytes(60_000))
        await sc.put_file("name/b", b"")
        await sc.put_file("name/a", bytes(60_000))
        await sc.remove("name/a")
        fd = await sc.open("name/b", OWRITE | OTRUNC)
        for _ in range(6):
            await sc.write(fd, bytes(10_000))
        with pytest.raises(serr.Inval):
            await sc.write(fd, b"x")
        with full:
            for number in range(100):
                await sc.put_file(f"name/small{number}", b"")
        await sc.close_fs()


async def test_fids_watches_and_fences_are_bounded() -> None:
    limits = changed(session={"fids_max": 10, "watches_per_session_max": 2}, store={"fences_max": 2})
    async with memfs(limits) as server, RawSession(server.endpoint, 1) as session:
        await session.attach(0)
        replies = [await session.call(put(fence=pb.Fence(pathname=f"f{number}", epoch=1))) for number in (1, 2, 3, 1)]
        assert all(reply.HasField("write") for reply in replies[:3])
        assert isinstance(error_of(replies[3]), serr.Stale), "forgotten, and so is refused whatever is as old"
        await session.call(Request(walk=pb.Twalk(fid=0, newfid=1)))
        await session.call(Request(open=pb.Topen(fid=1, mode=OREAD)))
        replies = [await session.call(Request(watch=pb.Twatch(dirfid=1, watchfid=fid))) for fid in (2, 3, 4)]
        assert "a session has at most 2 watches" in str(error_of(replies[-1]))
        await session.call(Request(clunk=pb.Tclunk(fid=2)))
        assert (await session.call(Request(watch=pb.Twatch(dirfid=1, watchfid=4)))).HasField("watch")
        replies = [await session.call(Request(walk=pb.Twalk(fid=0, newfid=fid))) for fid in range(5, 12)]
        assert str(error_of(replies[-1])) == "retry: fid 11 (the server has 10 fids, its most)"
        assert server.stats.fid_count == 10
        assert server.stats.watch_count == 2


async def test_fids_of_a_session_are_bounded() -> None:
    """Another session has its own."""
    async with (
        memfs(changed(session={"fids_per_session_max": 3})) as server,
        RawSession(server.endpoint, 1) as session,
        RawSession(server.endpoint, 2) as other,
    ):
        await session.attach(0)
        replies = [await session.call(Request(walk=pb.Twalk(fid=0, newfid=fid))) for fid in (1, 2, 3)]
        assert isinstance(error_of(replies[-1]), serr.Inval)
        assert "fid 3 (a session has at most 3 fids)" in str(error_of(replies[-1]))
        assert (await other.attach(0)).HasField("attach")
        await session.call(Request(clunk=pb.Tclunk(fid=1)))
        assert (await session.call(Request(walk=pb.Twalk(fid=0, newfid=3)))).HasField("walk")


async def test_a_watch_that_nobody_reads_ends() -> None:
    """Version, once what there was room for is read, in pages; the directory is to be listed again."""
    async with memfs(changed(store={"watch_events_max": 10}, wire={"watch_page_events": 4})) as server:
        sc = AsyncFsLib(ProcEnv(pid="test", named=server.endpoint))
        async with sc.watch_dir("name") as watch:
            for number in range(20):
                await sc.put_file(f"name/{number}", b"")
            pages = [await watch.read(5) for _ in range(3)]
            assert [len(page) for page in pages] == [4, 4, 2]
            with pytest.raises(serr.Version, match="over 10 unread events"):
                await watch.read(5)
        assert server.watches.queued_count == 0
        await sc.close_fs()


async def test_a_create_on_a_watch_does_not_lose_it() -> None:
    """A fid that is open stays what it is: its watch would be nobody's."""
    async with memfs() as server, RawSession(server.endpoint, 1) as session:
        await session.attach(0)
        await session.call(Request(walk=pb.Twalk(fid=0, newfid=1)))
        await session.call(Request(open=pb.Topen(fid=1, mode=OREAD)))
        await session.call(Request(watch=pb.Twatch(dirfid=1, watchfid=2)))
        assert "the fid is open" in str(error_of(await session.call(Request(create=pb.Tcreate(fid=2, name="x")))))
        await session.bye()
        await reached(lambda: not server.stats.session_count)
        assert (len(server.watches), server.stats.fid_count) == (0, 0)


async def test_a_large_directory_is_read_page_by_page() -> None:
    """10,000 entries: complete, in order, each once."""
    async with memfs() as server:
        await fill_and_list(server, 10_000)


@pytest.mark.soak
async def test_a_directory_of_a_million_entries_is_read_page_by_page() -> None:
    """As many as a directory may have."""
    async with memfs() as server:
        await fill_and_list(server, CONFIG.store.dir_entries_max)


async def fill_and_list(served: FileServer, count: int) -> None:
    sc = AsyncFsLib(ProcEnv(pid="test", named=served.endpoint))
    await sc.mkdir("name/d")
    for start in range(0, count, 1000):
        await asyncio.gather(*(sc.put_file(f"name/d/{n:07}", b"") for n in range(start, start + 1000)))
    pages = [page async for page in sc.scan_dir_pages("name/d")]
    assert len(pages) >= count // CONFIG.wire.dir_page_entries
    assert [stat.name for page in pages for stat in page] == [f"{n:07}" for n in range(count)]
    await sc.close_fs()

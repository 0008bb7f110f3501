"""What a stream may carry, and how much of it: each limit is answered as docs/protocol.md says, and others go on."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from fuzzservers import CONFIG, memfs
from msgspec.structs import replace
from rawsession import RawSession, reached

from sigmaos_ray import config, serr
from sigmaos_ray.pb import sigmap_pb2 as pb
from sigmaos_ray.pb.sessp_pb2 import Frames, Hello, Reply, Request, Welcome
from sigmaos_ray.sessp import wire
from sigmaos_ray.sigmap import DMDIR, DMNAMEDPIPE, OREAD, OWRITE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sigmaos_ray.protsrv.server import FileServer

INVALID = grpc.StatusCode.INVALID_ARGUMENT
EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED


def limits(**session: Any) -> config.Config:
    return replace(CONFIG, session=replace(CONFIG.session, **session))


def session_of(server: FileServer, session_id: int = 0, **options: Any) -> RawSession:
    return RawSession(server.endpoint.addrs[0], session_id or secrets.randbits(63), **options)


@asynccontextmanager
async def attached(server: FileServer, **options: Any) -> AsyncIterator[RawSession]:
    async with session_of(server, **options) as session:
        assert (await session.attach(0)).HasField("attach")
        yield session


def error_of(reply: Reply) -> serr.SigmaError:
    assert reply.HasField("error"), reply
    return wire.error_from_pb(reply.error)


def stat(fid: int = 0) -> Request:
    return Request(stat=pb.Tstat(fid=fid))


async def check_alive(server: FileServer) -> None:
    async with attached(server) as session:
        assert (await session.call(stat())).HasField("stat")


# -- greetings


async def test_a_stream_that_says_nothing_is_ended() -> None:
    async with memfs(limits(hello_timeout_s=0.2)) as server:
        session = session_of(server)
        code, details = await session.ended()
        assert (code, details) == (grpc.StatusCode.DEADLINE_EXCEEDED, "timed out: hello (none in 0.2 s)")
        await session.__aexit__()
        await check_alive(server)


async def test_streams_that_say_nothing_are_bounded() -> None:
    async with memfs(limits(greetings_max=3, hello_timeout_s=30.0)) as server:
        silent = [session_of(server) for _ in range(4)]
        endings = [asyncio.create_task(session.ended()) for session in silent]
        finished, _ = await asyncio.wait(endings, timeout=10, return_when=asyncio.FIRST_COMPLETED)
        assert [ending.result() for ending in finished] == [
            (EXHAUSTED, "retry: stream (over 3 streams have not said hello yet)")
        ]
        for session in silent:
            await session.__aexit__()
        await asyncio.wait(endings)
        await check_alive(server)


@pytest.mark.parametrize(
    "first",
    [
        Frames(),
        Frames(requests=[Request(seqno=1)]),
        Frames(hello=Hello(session_id=5), requests=[Request(seqno=1)]),
        Frames(hello=Hello(session_id=5), bye=True),
        Frames(welcome=Welcome()),
    ],
)
async def test_a_first_message_that_is_no_hello(first: Frames) -> None:
    async with memfs() as server:
        session = session_of(server, hello=first)
        async with session:
            assert await session.ended() == (
                INVALID,
                "invalid argument: hello (a stream's first message is a hello, and that alone)",
            )
        await check_alive(server)


@pytest.mark.parametrize(
    ("hello", "kind", "why"),
    [
        (Hello(), serr.Inval, "a session has a random number"),
        (Hello(session_id=5, resume=True), serr.Closed, "the server does not know the session"),
        (Hello(session_id=5, resume=True, outstanding=range(11)), serr.Inval, "over 10 outstanding requests"),
    ],
)
async def test_a_hello_that_is_refused(hello: Hello, kind: type[serr.SigmaError], why: str) -> None:
    async with memfs(limits(outstanding_max=10)) as server, session_of(server, hello=Frames(hello=hello)) as session:
        assert session.welcome is not None
        assert not session.welcome.accepted
        with pytest.raises(kind, match=why):
            raise wire.error_from_pb(session.welcome.error)
        assert server.stats.session_count == 0


async def test_sessions_are_bounded() -> None:
    async with memfs(limits(sessions_max=2)) as server:
        async with session_of(server), session_of(server), session_of(server) as third:
            assert third.welcome is not None
            error = wire.error_from_pb(third.welcome.error)
            assert str(error) == "retry: session (the server has 2 sessions, its most)"
        await reached(lambda: not server.stats.session_count)
        await check_alive(server)


async def test_a_second_hello_of_a_session_is_refused_unless_it_resumes() -> None:
    async with memfs() as server, attached(server, session_id=7) as first:
        async with session_of(server, 7) as second:
            assert second.welcome is not None
            assert isinstance(wire.error_from_pb(second.welcome.error), serr.Exists)
        assert (await first.call(stat())).HasField("stat")


async def test_a_resume_ends_the_older_stream() -> None:
    """One that has not noticed its end: nobody can pile up streams of one session."""
    async with memfs() as server, attached(server, session_id=7) as first:
        resume = Frames(hello=Hello(session_id=7, resume=True))
        async with session_of(server, 7, hello=resume) as second:
            assert await first.until(lambda: first.is_over)
            second._seqno = first._seqno
            assert (await second.call(stat())).HasField("stat")
            assert server.stats.session_count == 1


# -- messages


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (b"\xff\xff\xff\xff", "unknown message: Frames (4 bytes that are no such message"),
        (b"\x1a\x05\x00", "unknown message: Frames (3 bytes that are no such message"),
        (
            Frames(requests=[Request(walk=pb.Twalk(names=["~~~~"]))]).SerializeToString().replace(b"~~~~", b"\xff" * 4),
            "no such message",
        ),
        (Frames(hello=Hello(session_id=1)).SerializeToString(), "a stream has one, its first message"),
        (Frames(welcome=Welcome()).SerializeToString(), "only servers send welcomes and replies"),
        (Frames(replies=[Reply()]).SerializeToString(), "only servers send welcomes and replies"),
        (Frames(acks=range(11)).SerializeToString(), "over 10 in one message"),
    ],
)
async def test_what_is_no_message_of_a_client_ends_its_session(message: bytes, reason: str) -> None:
    """The session ends at once, with a reason; the others go on."""
    async with memfs(limits(acks_max=10)) as server:
        async with attached(server) as session:
            await session.send_bytes(message)
            code, details = await session.ended()
            assert code is INVALID
            assert reason in details
            await reached(lambda: not server.stats.session_count)
            assert server.stats.fid_count == 0
        await check_alive(server)


async def test_a_message_over_the_size_ends_the_stream() -> None:
    async with memfs() as server:
        async with attached(server) as session:
            await session.send_bytes(bytes(CONFIG.wire.message_bytes_max + 1))
            code, details = await session.ended()
            assert code is EXHAUSTED
            assert str(CONFIG.wire.message_bytes_max) in details
        await check_alive(server)


async def test_an_unknown_operation_is_unknown_message() -> None:
    async with memfs() as server, attached(server) as session:
        assert isinstance(error_of(await session.call(Request())), serr.UnknownMsg)


# -- numbers


async def test_numbers_that_cannot_be() -> None:
    async with memfs(limits(requests_ahead_max=100)) as server, attached(server) as session:
        for seqno, limit in (
            (0, "requests count from 1"),
            (103, "over 100 ahead of request 2"),
            ((1 << 64) - 1, "over 100"),
        ):
            await session.send(Frames(requests=[Request(seqno=seqno, stat=pb.Tstat(fid=0))]))
            assert await session.answered(seqno)
            with pytest.raises(serr.Inval, match=limit):
                raise error_of(session.replies[seqno])
        await session.send(Frames(requests=[Request(seqno=101, stat=pb.Tstat(fid=0))]))
        assert await session.answered(101)
        assert session.replies[101].HasField("stat")


async def test_a_doubled_number_runs_once_and_is_answered_again() -> None:
    async with memfs() as server, attached(server) as session:
        create = Request(create=pb.Tcreate(fid=0, name="d", perm=DMDIR))
        first = await session.call(create)
        await session.send(Frames(requests=[create, create]))
        assert await session.until(lambda: session.reply_counts[create.seqno] == 3)
        assert session.replies[create.seqno] == first
        await session.send(Frames(requests=[create], acks=[create.seqno]))
        assert await session.until(lambda: session.reply_counts[create.seqno] == 4)
        with pytest.raises(serr.Closed, match="acknowledged before"):
            raise error_of(session.replies[create.seqno])


async def test_replies_that_are_never_acknowledged_are_forgotten() -> None:
    """The oldest of them; after a lost stream their requests have an unknown outcome, and do not run again."""
    async with memfs(limits(replies_kept_bytes_max=2000)) as server, attached(server) as session:
        create = Request(create=pb.Tcreate(fid=0, name="d", perm=DMDIR))
        await session.call(create)
        for _ in range(20):
            last = stat()
            await session.call(last)
        await session.send(Frames(requests=[create, last]))
        assert await session.until(lambda: session.reply_counts[create.seqno] == 2)
        with pytest.raises(serr.IOErr, match="over 2000 bytes of replies that were not acknowledged"):
            raise error_of(session.replies[create.seqno])
        assert session.replies[last.seqno].HasField("stat")


# -- load


async def test_requests_in_flight_are_bounded() -> None:
    async with memfs(limits(requests_in_flight_max=10)) as server, attached(server) as session:
        waiting = await wait_on_pipes(session, 10)
        with pytest.raises(serr.Retry, match="over 10 requests in flight"):
            raise error_of(await session.call(Request(open=pb.Topen(fid=0, mode=OREAD))))
        assert session.unanswered() == set(waiting)


async def wait_on_pipes(session: RawSession, count: int) -> list[int]:
    """Makes a pipe, and opens it so often for reading that nobody answers."""
    create = Request(create=pb.Tcreate(fid=1, name="pipe", perm=DMNAMEDPIPE | 0o777))
    await session.call(Request(walk=pb.Twalk(fid=0, newfid=1)))
    assert (await session.call(create)).HasField("create")
    fids = range(2, 2 + count)
    await session.ask(*(Request(walk=pb.Twalk(fid=0, newfid=fid, names=["pipe"])) for fid in fids))
    return await session.ask(*(Request(open=pb.Topen(fid=fid, mode=OREAD)) for fid in fids))


async def test_requests_that_wait_are_bounded_in_bytes() -> None:
    """A write into a full pipe holds its data; others still run, so that the pipe can be read."""
    async with memfs(limits(requests_waiting_bytes_max=100_000)) as server, attached(server) as session:
        (reader,) = await wait_on_pipes(session, 1)
        await session.call(Request(walk=pb.Twalk(fid=0, newfid=9, names=["pipe"])))
        assert (await session.call(Request(open=pb.Topen(fid=9, mode=OWRITE)))).HasField("open")
        assert await session.answered(reader)
        writes = await session.ask(*(Request(write=pb.Twrite(fid=9, data=bytes(40_000))) for _ in range(10)))
        assert await session.until(lambda: len(session.replies.keys() & set(writes)) == 7)
        refused = [error_of(session.replies[seqno]) for seqno in writes if seqno in session.replies]
        assert {str(error) for error in refused} == {"retry: session (over 100000 bytes of requests that wait)"}
        assert (await session.call(stat())).HasField("stat")
        assert (await session.call(Request(clunk=pb.Tclunk(fid=2)))).HasField("clunk")
        assert await session.answered(*writes), "the writes end when the pipe's reader goes"


async def test_a_client_that_does_not_read_is_not_read_from() -> None:
    """It asks for 4 GiB, and reads nothing: the server holds a few MiB of it, and serves the others. Once it reads, it
    gets what it asked for."""
    async with memfs(limits(replies_unread_bytes_max=1 << 20, replies_kept_bytes_max=1 << 20)) as server:
        async with session_of(server, reads=False) as session:
            await session.ask(Request(attach=pb.Tattach(fid=0)), _PUT)
            sending = asyncio.create_task(ask_for_much(session))
            await reached(lambda: server.stats.ops["getfile"] >= 4)
            await check_alive(server)
            handled = server.stats.ops["getfile"]
            assert handled < 400, "requests were run though nobody reads their replies"
            session.start_reading()
            assert await session.until(lambda: len(session.replies) > handled + 200, 30)
            sending.cancel()
            await asyncio.wait({sending})
        await check_alive(server)


_PUT = Request(putfile=pb.Tputfile(fid=0, names=["f"], mode=OWRITE, perm=0o777, data=bytes(1 << 18)))


async def ask_for_much(session: RawSession) -> None:
    """16,000 times what ``_PUT`` put, or until the stream ends. Not more: once the stream is over a write does not
    wait, so that a loop without an end would neither let others run nor be cancelled."""
    get = pb.Tgetfile(fid=0, names=["f"], count=1 << 20)
    for _ in range(16):
        if session.is_over:
            return
        await session.ask(*(Request(getfile=get) for _ in range(1000)))


async def test_a_burst_does_not_hold_up_other_sessions() -> None:
    """Some 30,000 requests in one message are answered in slices."""
    async with memfs() as server, attached(server) as burst, attached(server) as other:
        numbers = await burst.ask(*(stat() for _ in range(30_000)))
        assert await burst.until(lambda: len(burst.replies) > 1000)
        assert (await other.call(stat())).HasField("stat")
        assert len(burst.replies) < 30_000, "the other session waited for all of the burst"
        assert await burst.answered(*numbers, within_s=60)


async def test_a_reply_over_the_size_is_an_error() -> None:
    """Names of a message may be as long as the message; the error that repeats them is not."""
    async with memfs() as server, attached(server) as session:
        long = "x" * (3 << 20)
        error = error_of(await session.call(Request(create=pb.Tcreate(fid=0, name=long))))
        assert isinstance(error, serr.Inval)
        assert len(error.obj) < 2000
        assert error.msg == f"a name has at most 255 bytes, this one {3 << 20}"


async def test_a_server_shuts_down_though_a_client_does_not_read() -> None:
    async with memfs() as server:
        async with session_of(server, reads=False) as session, attached(server) as other:
            await session.ask(Request(attach=pb.Tattach(fid=0)), _PUT)
            sending = asyncio.create_task(ask_for_much(session))
            await reached(lambda: server.stats.ops["getfile"] >= 4)
            await asyncio.wait_for(server.stop(), 10)
            assert await other.until(lambda: other.said_bye), "the other client was not told"
            sending.cancel()
            await asyncio.wait({sending})
        assert server.stats.session_count == 0

"""What a connection may carry, and how much of it, whatever its kind: each limit is answered as docs/protocol.md says,
and others go on."""

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
from rawwires import KINDS

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


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Of the connections that the attackers make."""
    return str(request.param)


def session_of(server: FileServer, kind: str, session_id: int = 0, **options: Any) -> RawSession:
    return RawSession(server.endpoint, session_id or secrets.randbits(63), kind=kind, **options)


def ended_by(session: RawSession, status: grpc.StatusCode) -> bool:
    """Whether a stream ended with that status; other kinds have none."""
    return session.wire.status in (None, status) and (session.wire.status is None) == (session.kind != "grpc")


@asynccontextmanager
async def attached(server: FileServer, kind: str, **options: Any) -> AsyncIterator[RawSession]:
    async with session_of(server, kind, **options) as session:
        assert (await session.attach(0)).HasField("attach")
        yield session


def error_of(reply: Reply) -> serr.SigmaError:
    assert reply.HasField("error"), reply
    return wire.error_from_pb(reply.error)


def stat(fid: int = 0) -> Request:
    return Request(stat=pb.Tstat(fid=fid))


async def check_alive(server: FileServer, kind: str) -> None:
    async with attached(server, kind) as session:
        assert (await session.call(stat())).HasField("stat")


# -- greetings


async def test_a_stream_that_says_nothing_is_ended(kind: str) -> None:
    async with memfs(limits(hello_timeout_s=0.2)) as server:
        session = session_of(server, kind)
        assert await session.ended() == "timed out: hello (none in 0.2 s)"
        assert ended_by(session, grpc.StatusCode.DEADLINE_EXCEEDED)
        await session.__aexit__()
        await check_alive(server, kind)


async def test_streams_that_say_nothing_are_bounded(kind: str) -> None:
    async with memfs(limits(greetings_max=3, hello_timeout_s=30.0)) as server:
        silent = [session_of(server, kind) for _ in range(4)]
        endings = [asyncio.create_task(session.ended()) for session in silent]
        finished, _ = await asyncio.wait(endings, timeout=10, return_when=asyncio.FIRST_COMPLETED)
        assert [ending.result() for ending in finished] == ["retry: stream (over 3 streams have not said hello yet)"]
        assert [ended_by(session, EXHAUSTED) for session in silent].count(True) >= 1
        for session in silent:
            await session.__aexit__()
        await asyncio.wait(endings)
        await check_alive(server, kind)


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
async def test_a_first_message_that_is_no_hello(kind: str, first: Frames) -> None:
    async with memfs() as server:
        session = session_of(server, kind, hello=first)
        async with session:
            why = "invalid argument: hello (a stream's first message is a hello, and that alone)"
            assert await session.ended() == why
            assert ended_by(session, INVALID)
        await check_alive(server, kind)


@pytest.mark.parametrize(
    ("hello", "error_class", "why"),
    [
        (Hello(), serr.Inval, "a session has a random number"),
        (Hello(session_id=5, resume=True), serr.Closed, "the server does not know the session"),
        (Hello(session_id=5, resume=True, outstanding=range(11)), serr.Inval, "over 10 outstanding requests"),
    ],
)
async def test_a_hello_that_is_refused(kind: str, hello: Hello, error_class: type[serr.SigmaError], why: str) -> None:
    async with (
        memfs(limits(outstanding_max=10)) as server,
        session_of(server, kind, hello=Frames(hello=hello)) as session,
    ):
        assert session.welcome is not None
        assert not session.welcome.accepted
        with pytest.raises(error_class, match=why):
            raise wire.error_from_pb(session.welcome.error)
        assert server.stats.session_count == 0


async def test_sessions_are_bounded(kind: str) -> None:
    async with memfs(limits(sessions_max=2)) as server:
        async with session_of(server, kind), session_of(server, kind), session_of(server, kind) as third:
            assert third.welcome is not None
            error = wire.error_from_pb(third.welcome.error)
            assert str(error) == "retry: session (the server has 2 sessions, its most)"
        await reached(lambda: not server.stats.session_count)
        await check_alive(server, kind)


async def test_a_second_hello_of_a_session_is_refused_unless_it_resumes(kind: str) -> None:
    async with memfs() as server, attached(server, kind, session_id=7) as first:
        async with session_of(server, kind, 7) as second:
            assert second.welcome is not None
            assert isinstance(wire.error_from_pb(second.welcome.error), serr.Exists)
        assert (await first.call(stat())).HasField("stat")


async def test_a_resume_ends_the_older_stream(kind: str) -> None:
    """One that has not noticed its end: nobody can pile up streams of one session."""
    async with memfs() as server, attached(server, kind, session_id=7) as first:
        resume = Frames(hello=Hello(session_id=7, resume=True))
        async with session_of(server, kind, 7, hello=resume) as second:
            assert await first.until(lambda: first.is_over)
            second.continues(first)
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
async def test_what_is_no_message_of_a_client_ends_its_session(kind: str, message: bytes, reason: str) -> None:
    """The session ends at once, with a reason, and waits for no resume; the others go on."""
    async with memfs(limits(acks_max=10, session_timeout_s=600.0)) as server:
        async with attached(server, kind) as session:
            await session.send_bytes(message)
            assert reason in await session.ended()
            assert ended_by(session, INVALID)
            await reached(lambda: not server.stats.session_count)
            assert server.stats.fid_count == 0
        await check_alive(server, kind)


async def test_a_message_over_the_size_ends_the_stream(kind: str) -> None:
    async with memfs() as server:
        async with attached(server, kind) as session:
            await session.send_bytes(bytes(CONFIG.wire.message_bytes_max + 1))
            assert str(CONFIG.wire.message_bytes_max) in await session.ended()
            assert ended_by(session, EXHAUSTED)
        await check_alive(server, kind)


async def test_an_unknown_operation_is_unknown_message(kind: str) -> None:
    async with memfs() as server, attached(server, kind) as session:
        assert isinstance(error_of(await session.call(Request())), serr.UnknownMsg)


# -- numbers


async def test_numbers_that_cannot_be(kind: str) -> None:
    async with memfs(limits(requests_ahead_max=100)) as server, attached(server, kind) as session:
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


async def test_a_doubled_number_runs_once_and_is_answered_again(kind: str) -> None:
    async with memfs() as server, attached(server, kind) as session:
        create = Request(create=pb.Tcreate(fid=0, name="d", perm=DMDIR))
        first = await session.call(create)
        await session.send(Frames(requests=[create, create]))
        assert await session.until(lambda: session.reply_counts[create.seqno] == 3)
        assert session.replies[create.seqno] == first
        await session.send(Frames(requests=[create], acks=[create.seqno]))
        assert await session.until(lambda: session.reply_counts[create.seqno] == 4)
        with pytest.raises(serr.Closed, match="acknowledged before"):
            raise error_of(session.replies[create.seqno])


async def test_replies_that_are_never_acknowledged_are_forgotten(kind: str) -> None:
    """The oldest of them; after a lost stream their requests have an unknown outcome, and do not run again."""
    async with memfs(limits(replies_kept_bytes_max=2000)) as server, attached(server, kind) as session:
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


async def test_requests_in_flight_are_bounded(kind: str) -> None:
    async with memfs(limits(requests_in_flight_max=10)) as server, attached(server, kind) as session:
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


async def test_requests_that_wait_are_bounded_in_bytes(kind: str) -> None:
    """A write into a full pipe holds its data; others still run, so that the pipe can be read."""
    async with memfs(limits(requests_waiting_bytes_max=100_000)) as server, attached(server, kind) as session:
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


async def test_a_client_that_does_not_read_is_not_read_from(kind: str) -> None:
    """It asks for 4 GiB, and reads nothing: the server holds a few MiB of it, and serves the others. Once it reads, it
    gets what it asked for."""
    async with memfs(limits(replies_unread_bytes_max=1 << 20, replies_kept_bytes_max=1 << 20)) as server:
        async with session_of(server, kind, reads=False) as session:
            await session.ask(Request(attach=pb.Tattach(fid=0)), _PUT)
            sending = asyncio.create_task(ask_for_much(session))
            await reached(lambda: server.stats.ops["getfile"] >= 4)
            await check_alive(server, kind)
            handled = server.stats.ops["getfile"]
            assert handled < 400, "requests were run though nobody reads their replies"
            session.start_reading()
            assert await session.until(lambda: len(session.replies) > handled + 200, 30)
            sending.cancel()
            await asyncio.wait({sending})
        await check_alive(server, kind)


_PUT = Request(putfile=pb.Tputfile(fid=0, names=["f"], mode=OWRITE, perm=0o777, data=bytes(1 << 18)))


async def ask_for_much(session: RawSession) -> None:
    """16,000 times what ``_PUT`` put, or until the stream ends. Not more: once the stream is over a write does not
    wait, so that a loop without an end would neither let others run nor be cancelled."""
    get = pb.Tgetfile(fid=0, names=["f"], count=1 << 20)
    for _ in range(16):
        if session.is_over:
            return
        await session.ask(*(Request(getfile=get) for _ in range(1000)))


async def test_a_burst_does_not_hold_up_other_sessions(kind: str) -> None:
    """Some 30,000 requests in one message are answered in slices."""
    async with memfs() as server, attached(server, kind) as burst, attached(server, kind) as other:
        numbers = await burst.ask(*(stat() for _ in range(30_000)))
        assert await burst.until(lambda: len(burst.replies) > 1000)
        assert (await other.call(stat())).HasField("stat")
        assert len(burst.replies) < 30_000, "the other session waited for all of the burst"
        assert await burst.answered(*numbers, within_s=60)


async def test_a_reply_over_the_size_is_an_error(kind: str) -> None:
    """Names of a message may be as long as the message; the error that repeats them is not."""
    async with memfs() as server, attached(server, kind) as session:
        long = "x" * (3 << 20)
        error = error_of(await session.call(Request(create=pb.Tcreate(fid=0, name=long))))
        assert isinstance(error, serr.Inval)
        assert len(error.obj) < 2000
        assert error.msg == f"a name has at most 255 bytes, this one {3 << 20}"


async def test_a_server_shuts_down_though_a_client_does_not_read(kind: str) -> None:
    async with memfs() as server:
        async with session_of(server, kind, reads=False) as session, attached(server, kind) as other:
            await session.ask(Request(attach=pb.Tattach(fid=0)), _PUT)
            sending = asyncio.create_task(ask_for_much(session))
            await reached(lambda: server.stats.ops["getfile"] >= 4)
            await asyncio.wait_for(server.stop(), 10)
            assert await other.until(lambda: other.said_bye), "the other client was not told"
            sending.cancel()
            await asyncio.wait({sending})
        assert server.stats.session_count == 0

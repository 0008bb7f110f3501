"""What only plain connections have: lengths, connections beside the main one, pings, and another session after a
goodbye."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import secrets
import socket
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from fuzzservers import CONFIG, memfs
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from profiles import quick
from rawsession import RawSession, reached
from rawwires import Over, PlainWire

from sigmaos_ray.pb import sigmap_pb2 as pb
from sigmaos_ray.pb.sessp_pb2 import Frames, Hello, Request
from sigmaos_ray.sessp import plain, wire
from sigmaos_ray.sessp.plaindoor import PlainDoor
from sigmaos_ray.sessp.server import SessionServer
from sigmaos_ray.sigmap import DMNAMEDPIPE, OREAD, OWRITE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sigmaos_ray import config, serr
    from sigmaos_ray.protsrv.server import FileServer

KEY = b"of the session"
SIZE_MAX = CONFIG.wire.message_bytes_max


def limits(**session: Any) -> config.Config:
    return replace(CONFIG, session=replace(CONFIG.session, **session))


@pytest.fixture(params=["plain", "local"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def session_of(server: FileServer, kind: str, **hello: Any) -> RawSession:
    hello.setdefault("session_id", secrets.randbits(63) or 1)
    hello.setdefault("key", KEY)
    return RawSession(server.endpoint, hello["session_id"], kind=kind, hello=Frames(hello=Hello(**hello)))


@asynccontextmanager
async def attached(server: FileServer, kind: str, **hello: Any) -> AsyncIterator[RawSession]:
    async with session_of(server, kind, **hello) as session:
        assert (await session.attach(0)).HasField("attach")
        yield session


def stat() -> Request:
    return Request(stat=pb.Tstat(fid=0))


def plain_wire(session: RawSession) -> PlainWire:
    assert isinstance(session.wire, PlainWire)
    return session.wire


def why_refused(session: RawSession) -> serr.SigmaError:
    assert session.welcome is not None
    assert not session.welcome.accepted
    return wire.error_from_pb(session.welcome.error)


def open_counts(server: FileServer) -> dict[str, int]:
    """By their role."""
    counts: dict[str, int] = server.stats.sections["connections"]().get("plain", {})
    return counts


async def test_a_length_over_the_limit_ends_the_connection_at_once(kind: str) -> None:
    """And its session, which waits for no resume: nothing of the message is waited for."""
    async with memfs(limits(session_timeout_s=600.0)) as server, attached(server, kind) as other:
        async with attached(server, kind) as session:
            await plain_wire(session).write_raw(plain.SIZE.pack(SIZE_MAX + 1))
            why = f"invalid argument: message ({SIZE_MAX + 1} bytes: a message has at most {SIZE_MAX})"
            assert await session.ended() == why
            await reached(lambda: server.stats.session_count == 1)
        assert (await other.call(stat())).HasField("stat")


async def test_a_length_over_the_limit_in_place_of_a_hello(kind: str) -> None:
    async with memfs() as server:
        session = session_of(server, kind)
        await plain_wire(session).write_raw(b"\xff" * 4)
        assert "a message has at most" in await session.ended()
        await session.wire.close()
        await reached(lambda: not open_counts(server))


@pytest.mark.parametrize("bytes_at_once", [1, 3, 7])
async def test_messages_in_pieces(kind: str, bytes_at_once: int) -> None:
    async with memfs() as server, attached(server, kind) as session:
        requests = [session.number(stat()) for _ in range(3)]
        sent = b"".join(plain.message(Frames(requests=[each]).SerializeToString()) for each in requests)
        for at in range(0, len(sent), bytes_at_once):
            await plain_wire(session).write_raw(sent[at : at + bytes_at_once])
            await asyncio.sleep(0)  # a turn of the loop, in which the server reads it
        assert await session.answered(*(each.seqno for each in requests))
        assert set(session.reply_counts.values()) == {1}


async def test_half_a_message_and_then_the_end(kind: str) -> None:
    """It counts as not sent: the client sends it again, on the next connection."""
    async with memfs() as server, attached(server, kind) as session:
        request = session.number(Request(putfile=pb.Tputfile(fid=0, names=["f"], mode=OWRITE, perm=0o777, data=b"x")))
        sent = plain.message(Frames(requests=[request]).SerializeToString())
        await plain_wire(session).write_raw(sent[: len(sent) // 2])
        _, writer = await plain_wire(session).streams()
        writer.write_eof()
        assert await session.until(lambda: session.is_over)
        async with session_of(server, kind, session_id=session.session_id, resume=True) as again:
            again.continues(session)
            assert "putfile" not in server.stats.ops
            await again.send(Frames(requests=[request]))
            assert await again.answered(request.seqno)
            assert server.stats.ops["putfile"] == 1


@pytest.mark.parametrize("hello", [{"bind": True}, {"resume": True}, {"bind": True, "resume": True}])
@pytest.mark.parametrize("key", [b"", b"wrong", KEY + b"\0"])
async def test_who_does_not_know_the_key_gets_no_session(kind: str, hello: dict[str, bool], key: bytes) -> None:
    """The answer is that to a number which no session has."""
    async with memfs() as server, attached(server, kind) as session:
        for session_id, shown in ((session.session_id, key), (session.session_id + 1, KEY)):
            async with session_of(server, kind, session_id=session_id, key=shown, **hello) as thief:
                assert str(why_refused(thief)) == "closed: session (the server does not know the session)"
                assert not await thief.ended()
        assert (await session.call(stat())).HasField("stat"), "the session went on"
        assert open_counts(server) == {"main": 1}


async def test_a_key_over_its_size(kind: str) -> None:
    async with memfs(limits(key_bytes_max=10)) as server, session_of(server, kind, key=bytes(11)) as session:
        assert str(why_refused(session)) == "invalid argument: hello (a key of over 10 bytes)"
        assert server.stats.session_count == 0


async def test_connections_of_a_session_are_bounded(kind: str) -> None:
    async with memfs(limits(connections_per_session_max=2)) as server, attached(server, kind) as session:
        async with session.beside(KEY) as first, session.beside(KEY) as second, session.beside(KEY) as third:
            assert str(why_refused(third)) == "retry: session (it has 2 connections, its most)"
            for each in (first, second):
                assert (await each.call(stat())).HasField("stat")
        await reached(lambda: open_counts(server) == {"main": 1})
        async with session.beside(KEY) as again:
            assert (await again.call(stat())).HasField("stat")


async def test_a_request_goes_once_whichever_connection_brings_it(kind: str) -> None:
    """Its reply comes by the one that asked last."""
    async with memfs() as server, attached(server, kind) as session, session.beside(KEY) as beside:
        await session.call(Request(walk=pb.Twalk(fid=0, newfid=1)))
        pipe = Request(create=pb.Tcreate(fid=1, name="pipe", perm=DMNAMEDPIPE | 0o777))
        assert (await session.call(pipe)).HasField("create")
        await session.ask(*(Request(walk=pb.Twalk(fid=0, newfid=fid, names=["pipe"])) for fid in (2, 3)))
        (waiting,) = await beside.ask(Request(open=pb.Topen(fid=2, mode=OREAD)))
        await reached(lambda: server.stats.ops["open"] == 1)
        await session.send(Frames(requests=[session.requests[waiting]]))
        await session.call(stat())
        assert (await session.call(Request(open=pb.Topen(fid=3, mode=OWRITE)))).HasField("open")
        assert await session.answered(waiting)
        assert session.reply_counts[waiting] == 1
        assert server.stats.ops["open"] == 2
        await beside.send(Frames(requests=[session.requests[waiting]]))
        assert await beside.until(lambda: session.reply_counts[waiting] == 2), "the kept reply"


async def test_a_copy_that_comes_late_beside_takes_no_reply_away(kind: str) -> None:
    """A client repeats on the main connection what it gave up on another; there, it may be under way still."""
    async with memfs() as server, attached(server, kind) as session, session.beside(KEY) as beside:
        await session.call(Request(walk=pb.Twalk(fid=0, newfid=1)))
        pipe = Request(create=pb.Tcreate(fid=1, name="pipe", perm=DMNAMEDPIPE | 0o777))
        assert (await session.call(pipe)).HasField("create")
        await session.ask(*(Request(walk=pb.Twalk(fid=0, newfid=fid, names=["pipe"])) for fid in (2, 3)))
        (waiting,) = await session.ask(Request(open=pb.Topen(fid=2, mode=OREAD)))
        await session.call(stat())
        await beside.send(Frames(requests=[session.requests[waiting]]))
        await beside.call(stat())
        await beside.wire.close()
        await reached(lambda: open_counts(server) == {"main": 1})
        assert (await session.call(Request(open=pb.Topen(fid=3, mode=OWRITE)))).HasField("open")
        assert await session.answered(waiting)


async def test_a_goodbye_beside_the_main_connection_ends_the_session(kind: str) -> None:
    async with memfs() as server, attached(server, kind) as session, session.beside(KEY) as beside:
        await beside.bye()
        await reached(lambda: not server.stats.session_count)
        assert open_counts(server) == {"unbound": 2}


# -- one session after the other


async def test_a_connection_serves_one_session_after_the_other(kind: str) -> None:
    """By a goodbye, and by leaving."""
    async with memfs() as server, attached(server, kind) as session:
        for number in range(1, 6):
            session.said_bye, session.welcome = False, None
            await session.send(Frames(bye=True) if number % 2 else Frames(unbind=True))
            if number % 2:
                assert await session.until(lambda: session.said_bye)
            await session.send(Frames(hello=Hello(session_id=number, key=KEY)))
            assert await session.until(lambda: session.welcome is not None)
            session._last_seqno[0] = 0
            session.replies.clear()
            assert (await session.attach(0)).HasField("attach")
        await reached(lambda: server.stats.session_count == 1)
        assert open_counts(server) == {"main": 1}


async def test_a_hello_right_behind_a_goodbye(kind: str) -> None:
    async with memfs() as server, attached(server, kind) as session:
        session.welcome = None
        hello = Frames(hello=Hello(session_id=5))
        await plain_wire(session).write_raw(
            plain.message(Frames(requests=[session.number(stat())], bye=True).SerializeToString())
            + plain.message(hello.SerializeToString())
        )
        assert await session.until(lambda: session.welcome is not None)
        assert session.said_bye
        assert server.stats.session_count == 1


@pytest.mark.parametrize("is_elsewhere", [False, True])
async def test_what_waits_to_be_taken_is_not_the_next_session_s(kind: str, is_elsewhere: bool) -> None:
    """A client sends more than is taken in one go, and leaves, or ends its session elsewhere: none of that runs in the
    session that comes next on the connection."""
    async with (
        memfs(limits(slice_s=0.0)) as server,
        attached(server, kind) as session,
        session.beside(KEY) as beside,
    ):
        asked = Frames(requests=[beside.number(stat()) for _ in range(2000)])
        if is_elsewhere:
            await beside.send(asked)
            await session.bye()
        else:
            leave = plain.message(Frames(unbind=True).SerializeToString())
            await plain_wire(beside).write_raw(plain.message(asked.SerializeToString()) + leave)
        beside.welcome, beside.replies = None, {}
        await beside.send(Frames(hello=Hello(session_id=77)))
        assert await beside.until(lambda: beside.welcome is not None)
        beside.replies.clear()  # those of the session before came first
        assert (await beside.attach(0)).HasField("attach")
        ran_count = server.stats.ops["stat"]
        assert (await beside.call(stat())).HasField("stat")
        assert server.stats.ops["stat"] == ran_count + 1
        assert len(beside.replies) == 2


async def test_an_unbound_connection_does_not_stay(kind: str) -> None:
    async with memfs(limits(unbound_s=0.2)) as server, attached(server, kind) as session:
        async with session.beside(KEY) as beside:
            await beside.send(Frames(unbind=True))
            assert await beside.ended() == "timed out: hello (none in 0.2 s)"
        await session.bye()
        assert await session.ended() == "timed out: hello (none in 0.2 s)"


async def test_pings_do_not_keep_an_unbound_connection(kind: str) -> None:
    async with memfs(limits(unbound_s=0.3)) as server, attached(server, kind) as session:
        await session.send(Frames(unbind=True))

        async def pinging() -> None:
            while not session.is_over:
                await session.send(Frames(ping=True))
                await asyncio.sleep(0.05)

        pings = asyncio.create_task(pinging())
        # What was sent meanwhile may have the system drop the reason.
        assert await session.ended() in ("", "timed out: hello (none in 0.3 s)")
        await pings
        assert session.pong_count


async def test_a_main_connection_that_leaves_may_come_back(kind: str) -> None:
    """In the time in which another one may."""
    async with memfs(limits(session_timeout_s=5.0)) as server, attached(server, kind) as session:
        session.welcome = None
        await session.send(Frames(unbind=True))
        await session.send(Frames(hello=Hello(session_id=session.session_id, key=KEY, resume=True)))
        assert await session.until(lambda: session.welcome is not None)
        assert session.welcome is not None
        assert session.welcome.accepted
        assert (await session.call(stat())).HasField("stat")


async def test_a_session_lives_by_its_main_connection(kind: str) -> None:
    """Those beside it do not keep it."""
    async with memfs() as server, attached(server, kind) as session, session.beside(KEY) as beside:
        await session.wire.close()
        await reached(lambda: not server.stats.session_count)
        assert await beside.ended() == "closed: session (the session ended)"


# -- silence


async def test_a_ping_is_answered(kind: str) -> None:
    async with memfs() as server, attached(server, kind) as session:
        for count in range(1, 4):
            await session.send(Frames(ping=True))
            assert await session.until(partial(session.has_pongs, count))


async def test_a_silent_main_connection_is_dead(kind: str) -> None:
    """One that pings lives; one beside it need not."""
    silence = limits(keepalive_s=0.1, keepalive_timeout_s=0.3, silent_session_s=0.1)
    async with (
        memfs(silence) as server,
        attached(server, kind) as session,
        attached(server, kind) as silent,
        session.beside(KEY) as beside,
    ):

        async def pinging() -> None:
            while not session.is_over:
                await session.send(Frames(ping=True))
                await asyncio.sleep(0.05)

        pings = asyncio.create_task(pinging())
        assert await silent.until(lambda: silent.is_over)
        await reached(lambda: server.stats.session_count == 1)
        assert (await beside.call(stat())).HasField("stat")
        pings.cancel()
        await asyncio.wait({pings})


# -- clients that do not read


async def test_a_client_that_is_refused_and_does_not_read_is_not_waited_for(kind: str) -> None:
    async with memfs() as server:
        session = RawSession(server.endpoint, 9, kind=kind, reads=False)
        async with session:
            put = Request(putfile=pb.Tputfile(fid=0, names=["f"], mode=OWRITE, perm=0o777, data=bytes(1 << 20)))
            await session.ask(Request(attach=pb.Tattach(fid=0)), put)
            await session.ask(*(Request(getfile=pb.Tgetfile(fid=0, names=["f"], count=1 << 20)) for _ in range(20)))
            await reached(lambda: server.stats.ops["getfile"] == 20)
            await session.send(Frames(hello=Hello(session_id=1)))
            await reached(lambda: not server.stats.session_count)
            await reached(lambda: not open_counts(server))


# -- anything


@given(st.lists(st.lists(st.binary(max_size=300), max_size=6), max_size=10))
def _any_bytes(each_sends: list[list[bytes]]) -> None:
    asyncio.run(_send(each_sends))


async def _send(each_sends: list[list[bytes]]) -> None:
    async with memfs() as server, attached(server, "local") as other:
        for sent in each_sends:
            session = session_of(server, "local")
            with contextlib.suppress(Over):
                for data in sent:
                    await plain_wire(session).write_raw(data)
            await session.wire.close()
        assert (await other.call(stat())).HasField("stat")
        await reached(lambda: open_counts(server) == {"main": 1})


def test_any_bytes() -> None:
    quick(20)(_any_bytes)()


# -- the end of a server


@pytest.mark.parametrize("turns", range(5))
async def test_a_connection_that_comes_as_the_door_closes_is_ended(turns: int) -> None:
    """However far the loop is with it: none is left open, and its client is told."""

    def no_session(_session_id: int) -> Any:
        raise AssertionError

    door = PlainDoor(SessionServer(no_session, CONFIG), CONFIG)
    host, _, port = (await door.open("127.0.0.1:0")).rpartition(":")
    with socket.create_connection((host, int(port))) as client:
        client.setblocking(False)
        for _ in range(turns):
            await asyncio.sleep(0)
        await door.close()
        async with asyncio.timeout(10):
            with contextlib.suppress(ConnectionResetError):
                assert await asyncio.get_running_loop().sock_recv(client, 1) == b""
    gc.collect()  # what is left open is told as it goes

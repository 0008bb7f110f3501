"""Payloads behind messages, from clients that keep to the protocol in everything else, or in nothing."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from typing import TYPE_CHECKING, Any

import pytest
from fuzzservers import CONFIG, memfs
from hypothesis import given
from hypothesis import strategies as st
from profiles import quick
from rawsession import RawSession, reached
from rawwires import Over, PlainWire

from sigmaos_ray.pb import sigmap_pb2 as pb
from sigmaos_ray.pb.sessp_pb2 import Frames, Hello, Request
from sigmaos_ray.sessp import plain
from sigmaos_ray.sigmap import OREAD, OTRUNC, OWRITE

if TYPE_CHECKING:
    from sigmaos_ray.protsrv.server import FileServer

SIZE_MAX = CONFIG.wire.message_bytes_max
DATA = bytes(range(256)) * 2000
"""More than one read brings."""


@pytest.fixture(params=["plain", "local"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def session_of(server: FileServer, kind: str, **hello: Any) -> RawSession:
    hello = {"session_id": secrets.randbits(63) or 1, "payloads": True} | hello
    return RawSession(server.endpoint, hello["session_id"], kind=kind, hello=Frames(hello=Hello(**hello)))


def parcel(request: Request, payload: bytes, **more: Any) -> bytes:
    """As it travels."""
    return behind(Frames(requests=[request], **more), payload)


def behind(frames: Frames, payload: bytes) -> bytes:
    head = frames.SerializeToString()
    return plain.SIZES.pack(len(head) | plain.HAS_PAYLOAD, len(payload)) + head + payload


def put(name: str = "f") -> Request:
    return Request(putfile=pb.Tputfile(fid=0, names=[name], mode=OWRITE | OTRUNC, perm=0o777))


def get(name: str = "f", count: int = 1 << 20) -> Request:
    return Request(getfile=pb.Tgetfile(fid=0, names=[name], mode=OREAD, count=count))


async def write_raw(session: RawSession, data: bytes) -> None:
    assert isinstance(session.wire, PlainWire)
    await session.wire.write_raw(data)


async def put_whole(session: RawSession, data: bytes, name: str = "f") -> None:
    request = session.number(put(name))
    await write_raw(session, parcel(request, data))
    assert await session.answered(request.seqno)
    assert session.replies[request.seqno].write.count == len(data)


async def got(session: RawSession, name: str = "f") -> bytes:
    reply = await session.call(get(name))
    assert reply.HasField("getfile")
    return session.payloads.get(reply.seqno, reply.getfile.data)


async def test_both_ways(kind: str) -> None:
    """A large one comes behind its reply, a small one within; what is sent behind may be of any size."""
    async with memfs() as server, session_of(server, kind) as session:
        assert session.welcome is not None
        assert session.welcome.payloads
        await session.attach(0)
        for data in (DATA, b"small", b""):
            await put_whole(session, data)
            assert await got(session) == data
        assert len(session.payloads) == 1


async def test_who_does_not_ask_for_payloads_gets_none(kind: str) -> None:
    """And is refused with one of its own."""
    async with memfs() as server, session_of(server, kind, payloads=False) as session:
        assert session.welcome is not None
        assert not session.welcome.payloads
        await session.attach(0)
        request = put()
        request.putfile.data = DATA
        assert (await session.call(request)).write.count == len(DATA)
        assert await got(session) == DATA
        assert not session.payloads
        await write_raw(session, parcel(session.number(put()), b"x"))
        assert "a message has at most" in await session.ended()
        await reached(lambda: not server.stats.session_count)


@pytest.mark.parametrize("bytes_at_once", [1, 7, 4099])
async def test_in_pieces(kind: str, bytes_at_once: int) -> None:
    async with memfs() as server, session_of(server, kind) as session:
        await session.attach(0)
        data = DATA[: 300 * bytes_at_once]
        first, second = session.number(put("f")), session.number(put("g"))
        sent = parcel(first, data) + parcel(second, data)
        for at in range(0, len(sent), bytes_at_once):
            await write_raw(session, sent[at : at + bytes_at_once])
            await asyncio.sleep(0)
        assert await session.answered(first.seqno, second.seqno)
        for name in ("f", "g"):
            assert await got(session, name) == data


@pytest.mark.parametrize("sizes", [(1, SIZE_MAX), (SIZE_MAX, 1), (0, 0xFFFF_FFFF), (0x7FFF_FFFF, 0xFFFF_FFFF)])
async def test_sizes_that_lie(kind: str, sizes: tuple[int, int]) -> None:
    """Refused at once, with the limit; others go on."""
    async with memfs() as server, session_of(server, kind) as other, session_of(server, kind) as session:
        await other.attach(0)
        await session.attach(0)
        await write_raw(session, plain.SIZES.pack(sizes[0] | plain.HAS_PAYLOAD, sizes[1]))
        why = f"invalid argument: message ({sum(sizes)} bytes: a message has at most {SIZE_MAX})"
        assert await session.ended() == why
        await put_whole(other, DATA)
        assert server.stats.session_count == 1


@pytest.mark.parametrize(
    "frames",
    [
        Frames(),
        Frames(ping=True),
        Frames(acks=[1]),
        Frames(unbind=True),
        Frames(hello=Hello(session_id=5)),
        Frames(requests=[Request(seqno=2, stat=pb.Tstat(fid=0))]),
        Frames(requests=[Request(seqno=2, transact=pb.Ttransact())]),
        Frames(requests=[Request(seqno=2)]),
        Frames(requests=[Request(seqno=2, putfile=pb.Tputfile(fid=0, names=["f"], data=b"within"))]),
        Frames(requests=[Request(seqno=2, write=pb.Twrite()), Request(seqno=3, write=pb.Twrite())]),
        Frames(requests=[Request(seqno=2, write=pb.Twrite())], bye=True),
    ],
)
async def test_a_payload_of_what_has_none_ends_the_session(kind: str, frames: Frames) -> None:
    async with memfs() as server, session_of(server, kind) as session:
        await session.attach(0)
        await write_raw(session, behind(frames, b"payload"))
        assert (await session.ended()).startswith("invalid argument: ")
        await reached(lambda: not server.stats.session_count)


async def test_a_payload_in_place_of_a_hello(kind: str) -> None:
    async with memfs() as server:
        session = session_of(server, kind)
        await write_raw(session, behind(Frames(hello=Hello(session_id=5, payloads=True)), b"payload"))
        assert "a message has at most" in await session.ended()
        await session.wire.close()


async def test_more_data_than_a_request_may_have(kind: str) -> None:
    """An error of the request: the session goes on."""
    async with memfs() as server, session_of(server, kind) as session:
        await session.attach(0)
        request = session.number(put())
        await write_raw(session, parcel(request, bytes(CONFIG.wire.io_bytes_max + 1)))
        assert await session.answered(request.seqno)
        assert session.replies[request.seqno].HasField("error")
        await put_whole(session, DATA)


@pytest.mark.parametrize("payloads", [True, False])
@pytest.mark.parametrize("arrives", [6, 40, 30_000, len(DATA)])
async def test_half_a_payload_and_then_the_end(kind: str, arrives: int, payloads: bool) -> None:
    """It counts as not sent: the client sends it again, on the next connection, there in whichever form."""
    async with memfs() as server, session_of(server, kind) as session:
        await session.attach(0)
        request = session.number(put())
        await write_raw(session, parcel(request, DATA)[:arrives])
        assert isinstance(session.wire, PlainWire)
        _, writer = await session.wire.streams()
        writer.write_eof()
        assert await session.until(lambda: session.is_over)
        again = session_of(server, kind, session_id=session.session_id, resume=True, payloads=payloads)
        async with again:
            again.continues(session)
            assert "putfile" not in server.stats.ops
            if payloads:
                await write_raw(again, parcel(request, DATA))
            else:
                request.putfile.data = DATA
                await again.send(Frames(requests=[request]))
            assert await again.answered(request.seqno)
            assert server.stats.ops["putfile"] == 1
            assert await got(again) == DATA


@pytest.mark.parametrize("payloads", [True, False])
async def test_a_kept_reply_comes_again_in_the_new_connection_s_form(kind: str, payloads: bool) -> None:
    async with memfs() as server, session_of(server, kind) as session:
        await session.attach(0)
        await put_whole(session, DATA)
        request = get()
        assert await session.call(request)
        assert session.payloads[request.seqno] == DATA
        await session.wire.close()
        session.payloads.clear()
        again = session_of(
            server, kind, session_id=session.session_id, resume=True, payloads=payloads, outstanding=[request.seqno]
        )
        async with again:
            again.continues(session)
            await again.send(Frames(requests=[request]))
            assert await again.until(lambda: session.reply_counts[request.seqno] == 2)
            assert server.stats.ops["getfile"] == 1
            reply = session.replies[request.seqno]
            assert session.payloads.get(request.seqno, reply.getfile.data) == DATA
            assert bool(session.payloads) == payloads


LIES = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 200), st.binary(max_size=300)), min_size=1, max_size=10)
"""The sizes that are told, and what comes behind them."""


@given(LIES)
def _any_bytes(lies: list[tuple[int, int, bytes]]) -> None:
    asyncio.run(_send(lies))


async def _send(lies: list[tuple[int, int, bytes]]) -> None:
    """The server refuses, or waits for more; it serves others."""
    async with memfs() as server, session_of(server, "local") as other:
        await other.attach(0)
        for size, payload_bytes, sent in lies:
            async with session_of(server, "local") as session:
                await session.attach(0)
                with contextlib.suppress(Over):
                    await write_raw(session, plain.SIZES.pack(size | plain.HAS_PAYLOAD, payload_bytes) + sent)
        await put_whole(other, DATA)
        assert await got(other) == DATA


def test_any_bytes_behind_sizes() -> None:
    quick(20)(_any_bytes)()

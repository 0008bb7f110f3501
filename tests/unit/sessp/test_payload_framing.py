"""Messages with payloads: what stands on the wire, however it is cut, and what is refused before it takes memory."""

from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigmaos_ray import serr
from sigmaos_ray.pb import sigmap_pb2 as pb
from sigmaos_ray.pb.sessp_pb2 import Frames, Reply, Request
from sigmaos_ray.sessp import payload, plain
from sigmaos_ray.sessp.outflow import Outflow
from sigmaos_ray.sessp.payload import Answer, Parcel

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterable

MAX = 4 << 20
SIZES = [1, 127, 128, 20_000, 1 << 20]


def requests(data: bytes) -> list[tuple[Request, Request]]:
    """Without their data, and with them."""
    fence = pb.Fence(pathname="name/f", epoch=3)
    call = Request(seqno=20, writeread=pb.Twriteread(fid=1, frames=[b"header", data]))
    return [
        (
            Request(seqno=1, write=pb.Twrite(fid=7, offset=1 << 40, fence=fence)),
            Request(seqno=1, write=pb.Twrite(fid=7, offset=1 << 40, fence=fence, data=data)),
        ),
        (
            Request(seqno=300, putfile=pb.Tputfile(fid=7, names=["a", "b"], lease=5)),
            Request(seqno=300, putfile=pb.Tputfile(fid=7, names=["a", "b"], lease=5, data=data)),
        ),
        (
            Request(seqno=1 << 40, create=pb.Tcreate(name="f", newfid=9)),
            Request(seqno=1 << 40, create=pb.Tcreate(name="f", newfid=9, data=data)),
        ),
        (Request(seqno=20, writeread=pb.Twriteread(fid=1, frames=[b"header"])), call),
    ]


def replies(data: bytes) -> list[tuple[Reply, Reply]]:
    qid = pb.Qid(version=3)
    return [
        (Reply(seqno=1, read=pb.Rread(is_end=True)), Reply(seqno=1, read=pb.Rread(is_end=True, data=data))),
        (Reply(seqno=300, getfile=pb.Rgetfile(qid=qid)), Reply(seqno=300, getfile=pb.Rgetfile(qid=qid, data=data))),
        (
            Reply(seqno=5, writeread=pb.Rwriteread(frames=[b"header"])),
            Reply(seqno=5, writeread=pb.Rwriteread(frames=[b"header", data])),
        ),
    ]


# -- parcels


@pytest.mark.parametrize("acks", [[], [1, 300]])
@pytest.mark.parametrize("size", SIZES)
def test_a_parcel_as_one_message_is_what_protobuf_makes(size: int, acks: list[int]) -> None:
    data = bytes(size)
    for without, whole in requests(data):
        parcel = Parcel(without, data, acks)
        assert Frames.FromString(parcel.whole()) == Frames(requests=[whole], acks=acks)
        assert len(parcel) == len(parcel.whole())
    for reply, whole_reply in replies(data):
        assert Frames.FromString(Parcel(reply, data).whole()) == Frames(replies=[whole_reply])


@pytest.mark.parametrize("acks", [[], [1, 300]])
def test_a_parcel_s_head_apart_is_the_message_without_its_data(acks: list[int]) -> None:
    for without, _ in requests(b"data"):
        frames = Frames.FromString(Parcel(without, b"data", acks).head(apart=True))
        assert frames == Frames(requests=[without], acks=acks)
        payload.check_request(frames)
    for reply, whole in replies(b"data"):
        frames = Frames.FromString(Parcel(reply, b"data").head(apart=True))
        assert frames == Frames(replies=[reply])
        payload.check_reply(frames)
        assert Answer(frames.replies[0], b"data").whole() == whole


def test_requests_keep_their_order_beside_payloads() -> None:
    """Each that has one is a message of its own; acknowledgements go with the first."""
    asked = [Request(seqno=number, write=pb.Twrite(fid=number)) for number in range(1, 7)]
    frames = Frames(requests=asked, acks=[9])
    assert list(payload.outgoing_of(frames, {})) == [frames]
    assert list(payload.outgoing_of(frames, {100: b"x"})) == [frames]
    sent = list(payload.outgoing_of(frames, {2: b"two", 3: b"three", 6: b"six"}))
    messages = [Frames.FromString(payload.encoded(each)) for each in sent]
    assert [[request.seqno for request in each.requests] for each in messages] == [[1], [2], [3], [4, 5], [6]]
    assert [list(each.acks) for each in messages] == [[9], [], [], [], []]
    assert [each.requests[0].write.data for each in messages] == [b"", b"two", b"three", b"", b"six"]


@pytest.mark.parametrize(
    "frames",
    [
        Frames(),
        Frames(acks=[1]),
        Frames(requests=[Request(seqno=1, stat=pb.Tstat())]),
        Frames(requests=[Request(seqno=1)]),
        Frames(requests=[Request(seqno=1, write=pb.Twrite(data=b"within"))]),
        Frames(requests=[Request(seqno=1, write=pb.Twrite()), Request(seqno=2, write=pb.Twrite())]),
        Frames(requests=[Request(seqno=1, write=pb.Twrite())], bye=True),
    ],
)
def test_a_payload_of_nothing_that_has_one_is_refused(frames: Frames) -> None:
    with pytest.raises(serr.Inval, match="payload"):
        payload.check_request(frames)
    with pytest.raises(serr.Inval, match="payload"):
        payload.check_reply(frames)


# -- what comes


def sent(*messages: bytes | tuple[bytes, bytes]) -> bytes:
    """As it travels."""
    pieces = []
    for each in messages:
        if isinstance(each, bytes):
            pieces.append(plain.message(each))
        else:
            pieces += [plain.SIZES.pack(len(each[0]) | plain.HAS_PAYLOAD, len(each[1])), *each]
    return b"".join(pieces)


def intake() -> plain.Intake:
    taking = plain.Intake(MAX)
    taking.takes_payloads = True
    return taking


def taken(intake: plain.Intake, data: bytes, steps: Iterable[int] = ()) -> list[bytes | tuple[bytes, bytes]]:
    """What comes of the bytes, if each read brings at most what the steps say, and then all there is room for."""
    steps, came = iter(steps), []
    view = memoryview(data)
    while view:
        room = intake.room
        count = min(len(room), len(view), next(steps, len(view)))
        room[:count] = view[:count]
        view = view[count:]
        came += [message if behind is None else (message, behind) for message, behind in intake.came(count)]
    return came


MESSAGES = st.lists(
    st.one_of(
        st.binary(max_size=30),
        st.tuples(st.binary(max_size=30), st.binary(max_size=50)),
        st.integers(0, 300_000).map(bytes),
        st.tuples(st.binary(max_size=30), st.integers(0, 300_000).map(bytes)),
        st.tuples(st.integers(30_000, 50_000).map(bytes), st.integers(0, 300_000).map(bytes)),
    ),
    max_size=8,
)


@given(MESSAGES, st.lists(st.one_of(st.integers(1, 20), st.integers(1, 100_000)), max_size=60))
def test_messages_however_they_come(messages: list[bytes | tuple[bytes, bytes]], steps: list[int]) -> None:
    assert taken(intake(), sent(*messages), steps) == messages


def test_a_byte_at_a_time() -> None:
    messages: list[bytes | tuple[bytes, bytes]] = [b"", b"one", (b"head", b"payload"), (b"", b""), (b"head", b""), b"x"]
    data = sent(*messages)
    assert taken(intake(), data, [1] * len(data)) == messages


@pytest.mark.parametrize(
    "sizes",
    [
        plain.SIZE.pack(MAX + 1),
        plain.SIZES.pack(plain.HAS_PAYLOAD | 1, MAX),
        plain.SIZES.pack(plain.HAS_PAYLOAD | MAX, 1),
        plain.SIZES.pack(plain.HAS_PAYLOAD, 0xFFFF_FFFF),
        plain.SIZES.pack(0xFFFF_FFFF, 0xFFFF_FFFF),
    ],
)
def test_a_size_over_the_limit_is_refused_before_there_is_room_for_it(sizes: bytes) -> None:
    taking = intake()
    tracemalloc.start()
    try:
        with pytest.raises(serr.Inval, match=f"a message has at most {MAX}"):
            taken(taking, sent(b"before") + sizes)
        assert tracemalloc.get_traced_memory()[1] < MAX // 4
    finally:
        tracemalloc.stop()


def test_what_comes_before_a_size_over_the_limit_is_taken() -> None:
    taking, data = intake(), sent(b"one", (b"two", b"payload")) + plain.SIZE.pack(MAX + 1)
    taking.room[: len(data)] = data
    came = iter(taking.came(len(data)))
    assert [next(came), next(came)] == [(b"one", None), (b"two", b"payload")]
    with pytest.raises(serr.Inval):
        next(came)


def test_a_payload_where_none_was_agreed_on_is_refused() -> None:
    taking = plain.Intake(MAX)
    with pytest.raises(serr.Inval, match="a message has at most"):
        taken(taking, sent((b"head", b"payload")))


def test_a_size_that_lies_takes_little_more_than_what_comes() -> None:
    tracemalloc.start()
    try:
        taking = intake()
        taken(taking, plain.SIZES.pack(plain.HAS_PAYLOAD | 4, MAX - 4) + b"head" + bytes(100))
        assert tracemalloc.get_traced_memory()[1] < 1 << 19
        taken(taking, bytes(200_000))
        assert tracemalloc.get_traced_memory()[1] < 3 << 20
    finally:
        tracemalloc.stop()


# -- what goes


class FakeTransport:
    """Takes so many bytes until it is emptied."""

    def __init__(self, takes_bytes: int) -> None:
        self.outflow: Outflow
        self.takes_bytes = takes_bytes
        self.written = bytearray()
        self.untaken_bytes = 0
        self.largest_bytes = 0
        self.is_over = ""

    def set_write_buffer_limits(self, *, high: int) -> None:
        assert high == 0

    def is_closing(self) -> bool:
        return bool(self.is_over)

    def write(self, data: bytes | memoryview) -> None:
        assert not self.is_over
        self.written += data
        self.largest_bytes = max(self.largest_bytes, len(data))
        self.untaken_bytes += len(data)
        if self.untaken_bytes > self.takes_bytes:
            self.outflow.pause()

    def emptied(self) -> None:
        self.untaken_bytes = 0
        self.outflow.resume()

    def close(self) -> None:
        self.is_over = self.is_over or "closed"

    def abort(self) -> None:
        self.is_over = self.is_over or "aborted"


def outflow(takes_bytes: int) -> tuple[Outflow, FakeTransport]:
    transport = FakeTransport(takes_bytes)
    transport.outflow = Outflow(cast("asyncio.Transport", transport))
    return transport.outflow, transport


@given(st.lists(st.integers(0, 400_000), min_size=1, max_size=6), st.integers(0, 500_000))
def test_what_goes_out_keeps_its_order_and_waits_for_who_reads(sizes: list[int], takes_bytes: int) -> None:
    out, transport = outflow(takes_bytes)
    pieces = [bytes((number,)) * size for number, size in enumerate(sizes)]
    out.write_all(pieces)
    while out.is_full:
        assert len(transport.written) < sum(sizes) or transport.untaken_bytes
        transport.emptied()
    assert bytes(transport.written) == b"".join(pieces)
    assert out.is_empty
    assert transport.largest_bytes <= 1 << 17, "what the system does not take is copied: never a whole payload"


def test_a_close_hands_over_the_rest_and_an_abort_drops_it() -> None:
    for ends in ("close", "abort"):
        out, transport = outflow(0)
        out.write_all([b"head", bytes(1 << 20)])
        out.write(b"behind")
        assert not out.is_empty
        getattr(out, ends)()
        getattr(out, ends)()
        out.write(b"nothing")
        assert out.is_empty
        assert transport.is_over == {"close": "closed", "abort": "aborted"}[ends]
        assert (len(transport.written) == (1 << 20) + 10) == (ends == "close")

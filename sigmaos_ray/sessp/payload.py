"""Payloads: the data of a request or reply, apart from its message (S-10). Pure.

To put data into a message and to serialize it copies them twice, and so does reading it. So large data stay apart as
long as they can: within a process always, and on the way where both ends of a connection know that form. Where they do
not, the data are the last of the message's bytes, which so needs no copy of them either.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from sigmaos_ray import serr
from sigmaos_ray.pb.sessp_pb2 import Frames, Reply, Request
from sigmaos_ray.sessp import wire

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from google.protobuf.message import Message

Data: TypeAlias = "bytes | memoryview"
"""What nobody changes any more: it may be sent again."""

_REQUEST_DATA: Final = {"write": "data", "putfile": "data", "create": "data", "writeread": "frames"}
_REPLY_DATA: Final = {"read": "data", "getfile": "data", "writeread": "frames"}
"""By operation: the field that the payload stands for; of several frames it is the last."""


class Answer(NamedTuple):
    """A reply, and its data if they are apart."""

    reply: Reply
    data: bytes | None = None

    def whole(self) -> Reply:
        """The reply with its data."""
        if self.data is not None:
            op = self.reply.WhichOneof("op")
            assert op is not None
            content = getattr(self.reply, op)
            if _REPLY_DATA[op] == "data":
                content.data = self.data
            else:
                content.frames.append(self.data)
        return self.reply


class Parcel:
    """A ``Frames`` of one request or reply with a payload, as it is sent. Its length is that of the whole."""

    __slots__ = ("_acks", "_data_tag", "_number", "_op", "_op_tag", "_size_bytes", "_tag", "payload")

    def __init__(self, message: Request | Reply, payload: Data, acks: Sequence[int] = ()) -> None:
        """``message``: without its data, and numbered."""
        is_request = isinstance(message, Request)
        op = message.WhichOneof("op")
        assert op is not None
        content: Message = getattr(message, op)
        field = (_REQUEST_DATA if is_request else _REPLY_DATA)[op]
        self._tag = wire.REQUEST_TAG if is_request else wire.REPLY_TAG
        self._acks = wire.acks_frame(acks)
        self._number = wire.number_field(message.seqno)
        self._op_tag = wire.tag(message.DESCRIPTOR.fields_by_name[op].number)
        self._op = content.SerializeToString()
        self._data_tag = wire.tag(content.DESCRIPTOR.fields_by_name[field].number)
        self.payload = payload
        self._size_bytes = len(self.head(apart=False)) + len(payload)

    def head(self, *, apart: bool) -> bytes:
        """All but the payload, which follows it. ``apart``: it is no part of the message."""
        size = 0 if apart else len(self.payload)
        op = self._op if apart else self._op + self._data_tag + wire.varint(size)
        body = self._number + self._op_tag + wire.varint(len(op) + size) + op
        return self._acks + self._tag + wire.varint(len(body) + size) + body

    def whole(self) -> bytes:
        """As one message."""
        return b"".join((self.head(apart=False), self.payload))

    def __len__(self) -> int:
        return self._size_bytes


Outgoing: TypeAlias = "Frames | Parcel"


def encoded(outgoing: Outgoing) -> bytes:
    """As one message."""
    return outgoing.whole() if isinstance(outgoing, Parcel) else outgoing.SerializeToString()


def outgoing_of(frames: Frames, payloads: Mapping[int, Data]) -> Iterator[Outgoing]:
    """What is to be sent of a message of requests, in their order; ``payloads``: by the numbers of those that have
    some."""
    if payloads.keys().isdisjoint(request.seqno for request in frames.requests):
        yield frames
        return
    together = Frames(acks=frames.acks)
    for request in frames.requests:
        payload = payloads.get(request.seqno)
        if payload is None:
            together.requests.append(request)
            continue
        if together.requests or together.acks:
            yield together
        together = Frames()
        yield Parcel(request, payload)
    if together.requests or together.acks:
        yield together


def check_request(frames: Frames) -> None:
    """Inval if it is no message of one request that a payload may belong to."""
    if len(frames.requests) != 1 or frames.bye:
        raise serr.Inval("payload", f"it is of one request, and here are {len(frames.requests)}")
    _check(frames.requests[0], _REQUEST_DATA)


def check_reply(frames: Frames) -> None:
    """Inval if it is no message of one reply that a payload may belong to."""
    if len(frames.replies) != 1:
        raise serr.Inval("payload", f"it is of one reply, and here are {len(frames.replies)}")
    _check(frames.replies[0], _REPLY_DATA)


def _check(message: Request | Reply, fields: Mapping[str, str]) -> None:
    op = message.WhichOneof("op")
    if op not in fields:
        raise serr.Inval("payload", f"of {op or 'nothing'}, which has no data")
    if fields[op] == "data" and getattr(message, op).data:
        raise serr.Inval("payload", f"of a {op} that has its data within")

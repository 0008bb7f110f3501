"""Between sigmap's values and the protobuf messages that carry them. The one place where they are converted."""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final

from google.protobuf.message import DecodeError

from sigmaos_ray import serr
from sigmaos_ray.pb import sigmap_pb2 as pb
from sigmaos_ray.pb.sessp_pb2 import Frames, Reply, Request
from sigmaos_ray.sigmap import NO_FENCE, Fence, Qid, Secret, Stat

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_LENGTH: Final = Struct("<I")

_TEXT_CHARS_MAX: Final = 1024
"""Of the object and of the message of an error: both may tell what a client sent."""


def tag(field_number: int) -> bytes:
    """What stands before such a field of bytes, of text, or of a message: its number, and wire type 2."""
    return varint(field_number << 3 | 2)


def varint(value: int) -> bytes:
    """As protobuf has it: seven bits a byte, the lowest first."""
    if value <= 0x7F:
        return bytes((value,))
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


REPLY_TAG: Final = tag(Frames.DESCRIPTOR.fields_by_name["replies"].number)
REQUEST_TAG: Final = tag(Frames.DESCRIPTOR.fields_by_name["requests"].number)
_ACKS_TAG: Final = tag(Frames.DESCRIPTOR.fields_by_name["acks"].number)
_SEQNO_TAG: Final = bytes((Request.DESCRIPTOR.fields_by_name["seqno"].number << 3,))
"""Of requests and of replies; wire type 0, a number."""


def frames_from(data: bytes) -> Frames:
    """The message that came as ``data``. UnknownMsg for bytes that are none."""
    try:
        return Frames.FromString(data)
    except DecodeError as error:
        raise serr.UnknownMsg("Frames", f"{len(data)} bytes that are no such message: {error}") from error


def reply_frame(reply: Reply) -> bytes:
    """A reply as it stands within ``Frames``. Such pieces, one after the other, are a ``Frames`` message; made once,
    they have a length that is known, and go out again after a lost stream as they are.

    By hand, since protobuf's own ``Frames(replies=[...])`` copies each reply, and serializes it again for each stream.
    """
    body = reply.SerializeToString()
    return REPLY_TAG + varint(len(body)) + body


def request_frame(request: Request, acks: Sequence[int]) -> bytes:
    """A ``Frames`` of one request and acknowledgements: by hand for the same reason."""
    body = request.SerializeToString()
    return acks_frame(acks) + REQUEST_TAG + varint(len(body)) + body


def acks_frame(acks: Sequence[int]) -> bytes:
    """Acknowledgements as they stand within ``Frames``; nothing for none."""
    if not acks:
        return b""
    numbers = b"".join(map(varint, acks))
    return _ACKS_TAG + varint(len(numbers)) + numbers


def number_field(seqno: int) -> bytes:
    """The number of a request or reply, as it stands within that."""
    return _SEQNO_TAG + varint(seqno)


def qid_to_pb(qid: Qid) -> pb.Qid:
    return pb.Qid(type=qid.type, version=qid.version, path=qid.path)


def qid_from_pb(qid: pb.Qid) -> Qid:
    return Qid(qid.type, qid.version, qid.path)


def stat_to_pb(stat: Stat) -> pb.Stat:
    return pb.Stat(
        type=stat.type,
        dev=stat.dev,
        qid=qid_to_pb(stat.qid),
        mode=stat.mode,
        atime=stat.atime,
        mtime=stat.mtime,
        length=stat.length,
        name=stat.name,
        uid=stat.uid,
        gid=stat.gid,
        muid=stat.muid,
    )


def stat_from_pb(stat: pb.Stat) -> Stat:
    return Stat(
        name=stat.name,
        qid=qid_from_pb(stat.qid),
        mode=stat.mode,
        length=stat.length,
        mtime=stat.mtime,
        atime=stat.atime,
        uid=stat.uid,
        gid=stat.gid,
        muid=stat.muid,
        dev=stat.dev,
        type=stat.type,
    )


def fence_to_pb(fence: Fence) -> pb.Fence | None:
    """None for no fence, so that a message without one carries no bytes for it."""
    return some_fence_to_pb(fence) if fence else None


def some_fence_to_pb(fence: Fence) -> pb.Fence:
    """For a fence that is one. Inval if no message can carry its pathname."""
    pathname = serr.check_utf8("a fence's pathname", fence.pathname)
    return pb.Fence(pathname=pathname, epoch=fence.epoch, seqno=fence.seqno)


def fence_from_pb(fence: pb.Fence) -> Fence:
    return Fence(fence.pathname, fence.epoch, fence.seqno) if fence.pathname else NO_FENCE


def secret_to_pb(secret: Secret) -> pb.Secret:
    return pb.Secret(service=secret.service, id=secret.id, key=secret.key, session_token=secret.session_token)


def secret_from_pb(secret: pb.Secret) -> Secret:
    return Secret(secret.service, secret.id, secret.key, secret.session_token)


def error_to_pb(error: serr.SigmaError) -> pb.Rerror:
    leader = error.leader if isinstance(error, serr.NotLeading) else ()
    obj, msg = _text(error.obj), _text(error.msg or "")
    return pb.Rerror(code=error.code, obj=obj, msg=msg, detail=error.detail, leader=leader)


def error_from_pb(error: pb.Rerror) -> serr.SigmaError:
    ours = serr.from_code(error.code, error.obj, error.msg or None, error.detail)
    if isinstance(ours, serr.NotLeading):
        ours.leader = tuple(error.leader)
    return ours


def _text(text: str) -> str:
    """Not too much of a text."""
    return text if len(text) <= _TEXT_CHARS_MAX else f"{text[:_TEXT_CHARS_MAX]}... ({len(text)} characters)"


def pack_dir(stats: Iterable[Stat], count_bytes: int) -> tuple[bytes, int]:
    """The listing that a read of a directory returns: entries that fit in ``count_bytes``, and how many they are.

    Each entry is a 4-byte little-endian length and a serialized Stat (P-12).
    """
    parts: list[bytes] = []
    size_bytes = entry_count = 0
    for stat in stats:
        encoded = stat_to_pb(stat).SerializeToString()
        size_bytes += _LENGTH.size + len(encoded)
        if size_bytes > count_bytes:
            break
        parts += (_LENGTH.pack(len(encoded)), encoded)
        entry_count += 1
    return b"".join(parts), entry_count


def unpack_dir(data: bytes) -> Iterator[Stat]:
    """The entries of ``pack_dir``. IOErr if the bytes are not such a listing."""
    offset = 0
    while offset < len(data):
        # The lengths are another process's word: none is believed before it is compared with what came.
        if offset + _LENGTH.size > len(data):
            raise serr.IOErr(msg="a directory listing ends within an entry")
        (length,) = _LENGTH.unpack_from(data, offset)
        offset += _LENGTH.size
        if offset + length > len(data):
            raise serr.IOErr(msg="a directory listing ends within an entry")
        try:
            stat = pb.Stat.FromString(data[offset : offset + length])
        except DecodeError as error:
            raise serr.IOErr(msg=f"an entry of a directory listing is no Stat: {error}") from error
        yield stat_from_pb(stat)
        offset += length

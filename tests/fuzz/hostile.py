"""What hostile clients send: names, numbers, messages, as hypothesis draws them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.protobuf.descriptor import FieldDescriptor
from hypothesis import strategies as st

from sigmaos_ray.pb.sessp_pb2 import Frames, Request
from sigmaos_ray.sigmap import (
    DMDEVICE,
    DMDIR,
    DMMOUNT,
    DMNAMEDPIPE,
    DMSYMLINK,
    DMTMP,
    NO_OFFSET,
    OAPPEND,
    OEXCL,
    ORDWR,
    OREAD,
    OTRUNC,
    OWRITE,
)

if TYPE_CHECKING:
    from google.protobuf.message import Message

ODD_NAMES = (
    "..",
    ".",
    "",
    "/",
    "a/b",
    "../..",
    "../secret",
    "/etc/passwd",
    "\0",
    "a\0b",
    "~any",
    "~local",
    "~",
    ".statsd",
    ".fences",
    ".pstatsd",
    "rpc",
    "clone",
    ".sigmaos-ux",
    "x" * 255,
    "x" * 256,
    "\u20ac" * 85,
    "\u20ac" * 86,
    "\u202eexe.txt",
    "\ufeff",
    "\u0000".join("ab"),
    " ",
    "\n",
    "%2e%2e",
    "*",
    "-rf",
    "con",
    "\U0001f4a9",
    "e\u0301",
    "out",
    "way-out",
    "file-outside",
    "canary",
)

NAMES = ("a", "b", "c", "d")
"""Few, so that requests meet."""

FIDS = st.sampled_from([0, 1, 2, 3, 4, 5, 6, 7])
ANY_FID = st.one_of(FIDS, st.sampled_from([NO_OFFSET, 1 << 63, 1 << 32]))

names = st.one_of(st.sampled_from(NAMES), st.sampled_from(NAMES), st.sampled_from(ODD_NAMES), st.text(max_size=8))
paths = st.lists(names, max_size=4)

numbers = st.one_of(
    st.integers(0, 20),
    st.sampled_from([(1 << bits) + by for bits in (7, 8, 16, 20, 31, 32, 40, 62, 63) for by in (-1, 0, 1)]),
    st.sampled_from([NO_OFFSET, NO_OFFSET - 1]),
    st.integers(0, NO_OFFSET),
)
small_numbers = numbers.map(lambda number: number & 0xFFFF_FFFF)

modes = st.one_of(
    st.sampled_from([OREAD, OWRITE, ORDWR, OWRITE | OTRUNC, OWRITE | OAPPEND, OWRITE | OEXCL, ORDWR | OTRUNC]),
    small_numbers,
)
perms = st.one_of(
    st.sampled_from(
        [0o777, DMDIR | 0o777, DMSYMLINK | 0o777, DMSYMLINK | DMMOUNT | 0o777, DMNAMEDPIPE | 0o777, DMDEVICE, DMTMP]
    ),
    small_numbers,
)
contents = st.one_of(
    st.binary(max_size=64),
    st.sampled_from(
        [
            b"name/a/",
            b"name/",
            b"../../..",
            b"~any",
            b'{"endpoint": {"addrs": ["127.0.0.1:1"]}}',
            b'{"endpoint": {"addrs": ["unix:/tmp/x"]}}',
            b'{"endpoint": ' + b"[" * 2000,
            b"\xff\xfe",
            bytes(70_000),
        ]
    ),
)
reals = st.floats(allow_nan=True, allow_infinity=True)
texts = st.one_of(names, st.text(max_size=30))

_BY_NAME = {
    "fid": ANY_FID,
    "newfid": ANY_FID,
    "dirfid": ANY_FID,
    "watchfid": ANY_FID,
    "old_fid": ANY_FID,
    "new_fid": ANY_FID,
    "mode": modes,
    "perm": perms,
    "data": contents,
    "offset": numbers,
}


def _class_of(field: Any) -> type[Message]:
    """Of the messages that a field takes."""
    kind: type[Message] = field.message_type._concrete_class
    return kind


def _field(field: Any, depth: int) -> st.SearchStrategy[Any]:
    if field.name in _BY_NAME:
        return _BY_NAME[field.name]
    if field.type == FieldDescriptor.TYPE_MESSAGE:
        return _fields(_class_of(field), depth + 1)
    if field.type == FieldDescriptor.TYPE_STRING:
        return texts
    if field.type == FieldDescriptor.TYPE_BYTES:
        return contents
    if field.type == FieldDescriptor.TYPE_BOOL:
        return st.booleans()
    if field.type in (FieldDescriptor.TYPE_DOUBLE, FieldDescriptor.TYPE_FLOAT):
        return reals
    if field.type == FieldDescriptor.TYPE_ENUM:
        return st.integers(0, (1 << 31) - 1) | st.sampled_from(sorted(field.enum_type.values_by_number))
    if field.type == FieldDescriptor.TYPE_UINT32:
        return small_numbers
    return numbers


def _fields(kind: type[Message], depth: int = 0) -> st.SearchStrategy[Message]:
    """Any message of a class: each field set or not, to what it should not be."""
    fields = {}
    for field in kind.DESCRIPTOR.fields:
        drawn = _field(field, depth)
        fields[field.name] = st.lists(drawn, max_size=4) if field.is_repeated else drawn
    return st.fixed_dictionaries({}, optional=fields).map(lambda chosen: kind(**chosen))


OPS = {field.name: field for field in Request.DESCRIPTOR.fields if field.name != "seqno"}


def any_of(op: str) -> st.SearchStrategy[Request]:
    """A request of one kind with any fields."""
    return _fields(_class_of(OPS[op])).map(lambda message: Request(**{op: message}))  # type: ignore[arg-type]  # of OPS


requests = st.sampled_from(sorted(OPS)).flatmap(any_of)
"""A request of any kind."""

_seldom = st.sampled_from([False] * 9 + [True])

frames = st.builds(
    lambda requests, numbers_, acks, bye, unbind, ping: Frames(
        requests=[_numbered(request, number) for request, number in zip(requests, numbers_, strict=False)],
        acks=acks,
        bye=bye,
        unbind=unbind,
        ping=ping,
    ),
    st.lists(requests, max_size=6),
    st.lists(st.one_of(st.integers(0, 30), numbers), min_size=6, max_size=6),
    st.lists(numbers, max_size=6),
    _seldom,
    _seldom,
    _seldom,
)


def _numbered(request: Request, seqno: int) -> Request:
    request.seqno = seqno
    return request


garbage = st.one_of(
    st.binary(max_size=200),
    st.tuples(frames.map(lambda message: message.SerializeToString()), st.integers(0, 400), st.binary(max_size=8)).map(
        lambda parts: parts[0][: parts[1]] + parts[2] + parts[0][parts[1] + len(parts[2]) :]
    ),
)
"""Bytes that are no message, or nearly one."""

"""Plain connections: the format of what they carry, and where a server takes them. Pure.

A message is its size in four bytes, the lowest first, and the bytes of a ``Frames``. If the highest bit of its size is
set it has a payload: the payload's size follows in four bytes, then come the message, and the payload.

The transport is TCP, or between processes of one machine a Unix socket in Linux's abstract namespace, whose name
follows from the server's address: who knows the address knows that name, nothing is left behind in a file system, and
it exists where the server's own network does, and nowhere else.
"""

from __future__ import annotations

import io
import os
import socket
import threading
from struct import Struct
from typing import TYPE_CHECKING, Final, TypeAlias

from sigmaos_ray import serr

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sigmaos_ray.sessp.payload import Data, Parcel
    from sigmaos_ray.tls.blockingsocket import TlsSocket

SIZE: Final = Struct("<I")
SIZES: Final = Struct("<II")
"""Of a message with a payload."""
HAS_PAYLOAD: Final = 1 << 31
_CREDENTIALS: Final = Struct("@3i")
"""Process, user and group, as the system tells them of a socket's other end."""
_NAME_BYTES_MAX: Final = 107
"""Of an abstract socket."""
_LOCAL_BUFFER_BYTES: Final = 1 << 20
"""As far as the system allows."""
_SCRATCH_BYTES: Final = 1 << 15
_FIRST_ROOM_BYTES: Final = 1 << 17
_ROOM_GROWS: Final = 8
"""By this factor, each time that what was made is full."""


def message(frames: bytes) -> bytes:
    """A message as it travels."""
    return SIZE.pack(len(frames)) + frames


def pieces(parcel: Parcel, *, apart: bool) -> tuple[bytes, Data]:
    """The same of one with a payload, which is the second piece. ``apart``: the other end knows that form."""
    head = parcel.head(apart=apart)
    size = len(parcel.payload)
    sizes = SIZES.pack(len(head) | HAS_PAYLOAD, size) if apart else SIZE.pack(len(head) + size)
    return sizes + head, parcel.payload


def local_name(address: str) -> str:
    """The abstract socket of the server at ``host:port``."""
    return f"\0sigmaos/{address}"[:_NAME_BYTES_MAX]


def quicken(plain_socket: socket.socket | TlsSocket) -> None:
    """Settings of a connection: each message goes out at once, since somebody waits for it; and a host that is gone is
    noticed, also by whoever only listens. Between processes of one machine a large message goes out in one step."""
    if plain_socket.family == socket.AF_UNIX:
        plain_socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _LOCAL_BUFFER_BYTES)
    else:
        plain_socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        plain_socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


def is_ours(local: socket.socket, *, or_roots: bool) -> bool:
    """Whether the process at the other end of a Unix socket is this user's, or root's: any user may take a name in the
    abstract namespace, and connect to one (S-12)."""
    credentials = local.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    user = _CREDENTIALS.unpack(credentials)[1]
    return user == os.geteuid() or (or_roots and user == 0)


def connect_local(local: socket.socket, name: str) -> None:
    """Connects a Unix socket to one in the abstract namespace. OSError if nobody is there, PermissionError if somebody
    else is: root's server as well, which would not take this user."""
    local.connect(name)
    if not is_ours(local, or_roots=False):
        raise PermissionError(f"{name[1:]} is another user's")


class Cutter:
    """Cuts what comes into messages."""

    def __init__(self, message_bytes_max: int) -> None:
        self._buffer = bytearray()
        self._message_bytes_max = message_bytes_max

    def cut(self, data: bytes) -> Iterable[bytes]:
        """The messages that are whole by now. Inval for one that is too large: what follows it is not looked at."""
        length = len(data) - SIZE.size
        if not self._buffer and 0 <= length <= self._message_bytes_max and SIZE.unpack_from(data)[0] == length:
            return (data[SIZE.size :],)  # one message at a time, mostly
        return self._cut(data)

    def _cut(self, data: bytes) -> Iterator[bytes]:
        size = SIZE.size
        buffer = self._buffer
        buffer += data
        at = 0
        try:
            while len(buffer) - at >= size:
                (length,) = SIZE.unpack_from(buffer, at)
                if length > self._message_bytes_max:
                    self._refuse(length)
                end = at + size + length
                if len(buffer) < end:
                    break
                at, begin = end, at + size
                yield bytes(memoryview(buffer)[begin:end])
        finally:
            # Once for all that came together: each time, the rest is moved to the front.
            del buffer[:at]

    def _refuse(self, length: int) -> None:
        raise too_large(length, self._message_bytes_max)


def too_large(size_bytes: int, message_bytes_max: int) -> serr.SigmaError:
    """What is said of a size over the limit."""
    return serr.Inval("message", f"{size_bytes} bytes: a message has at most {message_bytes_max}")


class Landing:
    """A buffer of a known size that is filled, and then becomes bytes without a copy. It grows as it is filled: the
    size is the other end's word."""

    def __init__(self, size_bytes: int, begun: bytes = b"") -> None:
        """``begun``: what has come of it already, and that is not all."""
        self._size_bytes = size_bytes
        self._filled_bytes = len(begun)
        self._file = io.BytesIO()
        self._file.write(begun)
        self._make_room(_FIRST_ROOM_BYTES)

    def _make_room(self, size_bytes: int) -> None:
        self._file.seek(min(max(size_bytes, self._filled_bytes + 1), self._size_bytes) - 1)
        self._file.write(b"\0")
        self._view = self._file.getbuffer()
        self._room = self._view[self._filled_bytes :]

    @property
    def room(self) -> memoryview:
        """Where what comes next is to be put."""
        return self._room

    def fill(self, count: int) -> bool:
        """So many bytes were put there. True once it is full."""
        room, self._room = self._room, self._room[count:]
        room.release()
        self._filled_bytes += count
        if self._room:
            return False
        self._room.release()
        self._view.release()  # else what becomes of it would be a copy
        if self._filled_bytes == self._size_bytes:
            return True
        self._make_room(self._filled_bytes * _ROOM_GROWS)
        return False

    def take(self) -> bytes:
        """The contents, once it is full."""
        return self._file.getvalue()


Incoming: TypeAlias = "tuple[bytes, bytes | None]"
"""A message that came, and its payload if it has one."""


class Intake:
    """Cuts what comes on a session's connection into messages. Short ones come by a buffer that a thread's connections
    share; each that is not whole yet, and each payload, straight into a buffer of its own."""

    def __init__(self, message_bytes_max: int) -> None:
        self.takes_payloads = False
        """Whether the other end may send some."""
        self._message_bytes_max = message_bytes_max
        self._scratch = _scratch_of_thread()
        self.room = self._scratch
        """Where what comes next is to be put, before anything else is asked of the thread's connections."""
        self._rest = b""
        """The beginning of sizes."""
        self._landing: Landing | None = None
        self._message: bytes | None = None
        """The message whose payload is landing."""
        self._payload_bytes: int | None = None
        """Of the payload that follows the message which is landing."""

    def came(self, count: int) -> Iterable[Incoming]:
        """So many bytes were put there: the messages that are whole by now. Inval for one that is too large: what
        follows it is not looked at."""
        landing = self._landing
        if landing is not None:
            is_full = landing.fill(count)
            self.room = landing.room
            return self._landed(landing) if is_full else ()
        scratch = self._scratch
        length = count - SIZE.size
        if not self._rest and 0 <= length <= self._message_bytes_max and SIZE.unpack_from(scratch)[0] == length:
            return ((bytes(scratch[SIZE.size : count]), None),)  # one message at a time, mostly
        data, self._rest = self._rest + scratch[:count], b""
        return self._cut(data)

    def _land(self, size_bytes: int, begun: bytes = b"") -> None:
        self._landing = Landing(size_bytes, begun)
        self.room = self._landing.room

    def _cut(self, data: bytes) -> Iterator[Incoming]:
        at = 0
        while len(data) - at >= SIZE.size:
            (length,) = SIZE.unpack_from(data, at)
            begin = at + SIZE.size
            payload_bytes = None
            if length & HAS_PAYLOAD and self.takes_payloads:
                if len(data) - at < SIZES.size:
                    break
                length, payload_bytes = length ^ HAS_PAYLOAD, SIZE.unpack_from(data, begin)[0]
                begin = at + SIZES.size
            # Before any room is made: the sizes are the other end's word.
            if length + (payload_bytes or 0) > self._message_bytes_max:
                raise too_large(length + (payload_bytes or 0), self._message_bytes_max)
            at = begin + length
            if len(data) < at:
                self._payload_bytes = payload_bytes
                self._land(length, data[begin:])
                return
            if payload_bytes is None:
                yield data[begin:at], None
                continue
            begin, at = at, at + payload_bytes
            if len(data) < at:
                self._message = data[begin - length : begin]
                self._land(payload_bytes, data[begin:])
                return
            yield data[begin - length : begin], data[begin:at]
        self._rest = data[at:]

    def _landed(self, landing: Landing) -> Iterable[Incoming]:
        came = landing.take()
        self._landing, self.room = None, self._scratch
        message, self._message = self._message, None
        payload_bytes, self._payload_bytes = self._payload_bytes, None
        if message is not None:
            return ((message, came),)
        if not payload_bytes:
            return ((came, None if payload_bytes is None else b""),)
        self._message = came
        self._land(payload_bytes)
        return ()


_scratches = threading.local()


def _scratch_of_thread() -> memoryview:
    """What comes is cut at once, so one buffer will do for all connections of a loop."""
    scratch: memoryview | None = getattr(_scratches, "view", None)
    if scratch is None:
        scratch = _scratches.view = memoryview(bytearray(_SCRATCH_BYTES))
    return scratch

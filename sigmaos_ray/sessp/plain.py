"""Plain connections: the format of what they carry, and where a server takes them. Pure.

A message is its size in four bytes, the lowest first, and the bytes of a ``Frames``. The transport is TCP, or between
processes of one machine a Unix socket in Linux's abstract namespace, whose name follows from the server's address: who
knows the address knows that name, nothing is left behind in a file system, and it exists where the server's own network
does, and nowhere else.
"""

from __future__ import annotations

import socket
from struct import Struct
from typing import TYPE_CHECKING, Final

from sigmaos_ray import serr

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

SIZE: Final = Struct("<I")
_NAME_BYTES_MAX: Final = 107
"""Of an abstract socket."""


def message(frames: bytes) -> bytes:
    """A message as it travels."""
    return SIZE.pack(len(frames)) + frames


def local_name(address: str) -> str:
    """The abstract socket of the server at ``host:port``."""
    return f"\0sigmaos/{address}"[:_NAME_BYTES_MAX]


def quicken(plain_socket: socket.socket) -> None:
    """Settings of a connection: each message goes out at once, since somebody waits for it; and a host that is gone is
    noticed, also by whoever only listens."""
    if plain_socket.family != socket.AF_UNIX:
        plain_socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        plain_socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


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
        raise serr.Inval("message", f"{length} bytes: a message has at most {self._message_bytes_max}")

"""TLS for a thread: a socket like any other, whose waits the system bounds (``SO_RCVTIMEO``, ``SO_SNDTIMEO``).

``ssl.SSLSocket`` knows nothing of those, and takes no two pieces at a time.
"""

from __future__ import annotations

import contextlib
import socket
import time
from typing import TYPE_CHECKING

from sigmaos_ray.tls.identity import TlsRefused
from sigmaos_ray.tls.refusals import CLOSED
from sigmaos_ray.tls.stream import BLOCK_BYTES, READ_BYTES, RECORD_BYTES, StreamEnded, TlsStream

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sigmaos_ray.tls.identity import TlsIdentity


class TlsSocket:
    """What a plain socket does, as far as connections of threads need it; errors are its own, and TlsRefused. For one
    thread at a time, but for ``shutdown``."""

    def __init__(self, connected: socket.socket, identity: TlsIdentity, timeout_s: float) -> None:
        """Takes a connected socket over, and returns once its other end has shown that it is of the same instance.
        OSError, TlsRefused and TimeoutError among them, and Perm without a certificate; then the socket is closed."""
        self._socket = connected
        self.family = connected.family
        self._unsent = b""
        """Encrypted, and not taken by the system yet."""
        self._has_more = False
        """Of what came something may not have been read."""
        self._scratch = memoryview(bytearray(READ_BYTES))
        try:
            self._stream = TlsStream(identity.client_context(), is_server=False)
            self._shake_hands(time.monotonic() + timeout_s)
        except BaseException:  # interrupted as well: nobody else closes it
            connected.close()
            raise

    def _shake_hands(self, ends_s: float) -> None:
        try:
            while not self._stream.shake_hands():
                self._socket.settimeout(max(ends_s - time.monotonic(), 0.001))
                self._socket.sendall(self._stream.outgoing())
                if not (count := self._socket.recv_into(self._scratch)):
                    raise TlsRefused(CLOSED)
                self._stream.feed(self._scratch[:count])
        except TlsRefused:
            with contextlib.suppress(OSError):
                self._socket.sendall(self._stream.outgoing())
            raise
        self._socket.sendall(self._stream.outgoing())
        self._has_more = self._stream.has_more

    # -- as a socket has it

    def setsockopt(self, level: int, name: int, value: int | bytes) -> None:
        self._socket.setsockopt(level, name, value)

    def settimeout(self, timeout_s: float | None) -> None:
        self._socket.settimeout(timeout_s)

    def fileno(self) -> int:
        return self._socket.fileno()

    def send(self, data: bytes | memoryview) -> int:
        """How many bytes are on their way: what the system does not take at once goes before whatever is next."""
        if self._unsent:
            self._flush()
        if len(data) > BLOCK_BYTES:
            data = data[:BLOCK_BYTES]
        self._send_on(self._stream.encrypted(data))
        return len(data)

    def sendmsg(self, pieces: Sequence[bytes | memoryview]) -> int:
        """The same of several pieces."""
        if self._unsent:
            self._flush()
        parts, count = [], 0
        for piece in pieces:
            part = piece[: BLOCK_BYTES - count]
            parts.append(self._stream.encrypted(part))
            count += len(part)
        self._send_on(b"".join(parts))
        return count

    def _send_on(self, encrypted: bytes) -> None:
        try:
            count = self._socket.send(encrypted)
        except BlockingIOError:
            count = 0
        if count < len(encrypted):
            self._unsent = encrypted[count:]

    def sendall(self, data: bytes) -> None:
        """Returns once the system has taken all; BlockingIOError if that takes long."""
        rest = memoryview(data)
        while rest:
            rest = rest[self.send(rest) :]
        self._flush()

    def _flush(self) -> None:
        while self._unsent:
            self._unsent = self._unsent[self._socket.send(self._unsent) :]

    def recv(self, count_max: int, flags: int = 0) -> bytes:
        """With MSG_PEEK only looks whether something has come, and returns something else."""
        if flags & socket.MSG_PEEK:
            return b"?" if self._has_more else self._socket.recv(count_max, flags)
        stream = self._stream
        try:
            while not ((self._has_more or self._receive()) and (data := stream.read(min(count_max, RECORD_BYTES)))):
                if not self._has_more:
                    return b""
                self._has_more = False
        except StreamEnded:
            return b""
        self._has_more = stream.has_more
        return data

    def recv_into(self, room: memoryview, count_max: int = 0, flags: int = 0) -> int:
        """Fills all of the room, if nothing keeps it from that."""
        filled = 0
        while filled < len(room):
            try:
                if (self._has_more or self._receive()) and (count := self._stream.read_into(room[filled:])):
                    filled += count
                    self._has_more = self._stream.has_more
                elif not self._has_more:
                    return filled
                else:
                    self._has_more = False
            except StreamEnded:
                return filled
            except BlockingIOError:
                if filled:
                    return filled
                raise
        return filled

    def _receive(self) -> bool:
        """Waits for more. False at the end."""
        if self._unsent:
            self._flush()
        count = self._socket.recv_into(self._scratch)
        self._stream.feed(self._scratch[:count])
        self._has_more = count > 0
        return self._has_more

    def shutdown(self, how: int) -> None:
        self._socket.shutdown(how)

    def close(self) -> None:
        self._socket.close()

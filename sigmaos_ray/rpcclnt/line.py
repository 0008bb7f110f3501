"""Lines, the client's side: calls from threads, without an event loop between them and the server (``sessp.lines``).

A line knows nothing of liveness: that is watched over by the session of its channel, at which a waiting thread looks
once a second.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from typing import TYPE_CHECKING

from sigmaos_ray import config, debug, serr
from sigmaos_ray.rpcclnt.trunk import error_from_frame
from sigmaos_ray.sessp import lines

if TYPE_CHECKING:
    from collections.abc import Callable

    from sigmaos_ray.pb.rpc_pb2 import Line
    from sigmaos_ray.rpcclnt.channel import Channel

_log = debug.selector("RPCCLNT")


class BlockingLine:
    """One call at a time, from one thread at a time. ``close`` it, always after an error: what the server sends next
    may be the reply to a call that was given up."""

    def __init__(self, host: str, offer: Line, channel: Channel) -> None:
        """Dials. Raises OSError if there is nobody. ``channel`` stays its owner's."""
        self.channel = channel
        self._limits = config.current().lines
        self._socket = socket.create_connection((host, offer.port), self._limits.dial_timeout_s)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.sendall(offer.token)

    def send(self, method: str, argument: bytes, timeout_s: float | None) -> None:
        """Sends a call. Unreachable: it is not sent, or not all of it, and does not run."""
        try:
            self._socket.settimeout(self._limits.send_timeout_s)
            self._socket.sendall(lines.line_message(self.channel.header(method, timeout_s), argument))
        except OSError as error:
            # A server runs only what came whole, and whoever sees this error closes the line: the rest never comes.
            raise serr.Unreachable(method, f"the line is lost: {error}") from error

    def receive(self, method: str, timeout_s: float | None) -> list[bytes]:
        """Blocks for the frames of the reply to what was sent. Unreachable: the call did not get to a handler; IOErr:
        it may have; Timeout past ``timeout_s``, and it may have, too."""
        ends_s = None if timeout_s is None else time.monotonic() + timeout_s
        data = self._read(method, lines.SIZES.size, bytearray(), ends_s)
        first, second = lines.SIZES.unpack_from(data)
        failed, first = bool(first & lines.FAILED), first & ~lines.FAILED
        cut = lines.SIZES.size + first
        data = self._read(method, cut + second, data, ends_s)
        frames = [bytes(data[lines.SIZES.size : cut]), bytes(data[cut : cut + second])]
        if failed:
            raise error_from_frame(frames[0])
        return frames

    def _read(self, method: str, count: int, data: bytearray, ends_s: float | None) -> bytearray:
        """``data``, and what comes, once there are at least ``count`` bytes."""
        poll_s = self._limits.poll_s
        while len(data) < count:
            left_s = poll_s if ends_s is None else min(poll_s, ends_s - time.monotonic())
            if left_s <= 0:
                raise serr.Timeout(method, "no reply in time")
            try:
                self._socket.settimeout(left_s)
                # More than is needed, perhaps: one call at a time, so all that comes belongs to this reply.
                more = self._socket.recv(max(1 << 16, count - len(data)))
            except TimeoutError:
                if self.channel.ended:
                    raise serr.IOErr(method, "the session ended") from None
                continue
            except OSError as error:
                raise serr.IOErr(method, f"the line was lost: {error}") from error
            if not more:
                raise serr.IOErr(method, "the server closed the line")
            data += more
        return data

    def close(self) -> None:
        """May be repeated."""
        self._socket.close()


class LinePool:
    """The lines of one client to one server, for as many threads as come. ``close`` it."""

    def __init__(self, offer: Callable[[], tuple[Channel, str, Line]]) -> None:
        """``offer``: blocks for where a line can be had, and of which channel."""
        self._offer = offer
        self._limits = config.current().lines
        self._idle: list[BlockingLine] = []
        """A stack, without the lock: append and pop are single steps of the interpreter. The line that was used last
        goes out first, so that a client with few threads keeps using the same ones."""
        self._lock = threading.Lock()
        self._count = 0
        """Lines that there are, idle or in use."""
        self._calls_count = 0
        self._not_until_s = 0.0
        self._is_closed = False
        self._os_pid = os.getpid()

    def take(self) -> BlockingLine | None:
        """A line that nobody else uses, for ``put_back`` or ``drop``; None if the call is to take the session. Blocks
        only to dial."""
        if self._os_pid != os.getpid():
            self._leave_to_the_parent()
        while True:
            try:
                line = self._idle.pop()
            except IndexError:
                break
            if not line.channel.ended:
                return line
            self.drop(line)
        # Without the lock: threads that miss each other's counts get a line a few calls later, no more.
        self._calls_count += 1
        if self._calls_count <= self._limits.calls_before_line or time.monotonic() < self._not_until_s:
            return None
        with self._lock:
            if self._is_closed or self._count >= self._limits.lines_per_client_max:
                return None
            self._count += 1  # before the dial, which takes its time: the bound holds for lines that are being made
        return self._dial()

    def _leave_to_the_parent(self) -> None:
        """In a forked child: a reply on one of these lines may be to the other process. The lock is new, too: a thread
        that the child has not may have held it at the fork."""
        self._lock, self._os_pid, self._count = threading.Lock(), os.getpid(), 0
        inherited, self._idle = self._idle, []
        for line in inherited:
            line.close()

    def _dial(self) -> BlockingLine | None:
        try:
            channel, host, offer = self._offer()
            return BlockingLine(host, offer, channel)
        except (OSError, serr.SigmaError) as error:
            _log(f"no line: {error}")
            self._not_until_s = time.monotonic() + self._limits.pause_s
        except BaseException:
            self._uncount()
            raise
        self._uncount()
        return None

    def _uncount(self) -> None:
        with self._lock:
            self._count -= 1

    def put_back(self, line: BlockingLine) -> None:
        """After a call that was answered whole, which leaves nothing on the line."""
        if self._is_closed:
            self.drop(line)
        else:
            # Should the pool be closed at this very moment, ``__del__`` finds the line.
            self._idle.append(line)

    def drop(self, line: BlockingLine) -> None:
        """After any other call."""
        line.close()
        self._uncount()

    def close(self) -> None:
        """Lines in use are closed when they are given back. May be repeated."""
        self._is_closed = True
        # Not by iterating: threads may take lines and put them back meanwhile.
        with contextlib.suppress(IndexError):
            while True:
                self.drop(self._idle.pop())

    def __del__(self) -> None:
        self.close()

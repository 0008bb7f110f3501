"""A session's connections beside its main one: plain ones, each for a thread that waits for one reply at a time.

No loop stands between the thread and the server. A connection that breaks, or is given up, takes nothing with it: what
was outstanding there goes out again over the main one, under the same number.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import socket
import threading
import time
from struct import Struct
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from sigmaos_ray import debug, serr
from sigmaos_ray.pb.sessp_pb2 import Frames, Hello, Request, Welcome
from sigmaos_ray.sessp import plain, wire
from sigmaos_ray.sessp.dialling import plain_targets
from sigmaos_ray.sessp.payload import Answer, Parcel, check_reply

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from sigmaos_ray.config import Config
    from sigmaos_ray.sessp.payload import Data
    from sigmaos_ray.tls.blockingsocket import TlsSocket
    from sigmaos_ray.tls.identity import TlsIdentity

T = TypeVar("T")

_log = debug.selector("SESSCLNT")

_BYE: Final = plain.message(Frames(bye=True).SerializeToString())
_UNBIND: Final = plain.message(Frames(unbind=True).SerializeToString())
_READ_BYTES: Final = 1 << 16
_LOOK: Final = int(socket.MSG_DONTWAIT | socket.MSG_PEEK)  # an enum would be made of it in each call
_HEAD_BYTES: Final = 1 << 8
"""Of what comes before large data, mostly more than there is."""
_WHOLE: Final = int(socket.MSG_WAITALL)
_TIMEVAL: Final = Struct("@ll")


class _Here(threading.local):
    """What holds in one thread, and is not handed on to what it starts on a loop."""

    is_direct = False


_here = _Here()


class Elsewhere(Exception):
    """A call cannot be made in the thread that makes it. Nothing of it was sent: it is to be made on the client's loop,
    from the beginning."""


def is_direct() -> bool:
    """True within ``run_direct``: what would wait for anything but one reply raises ``Elsewhere``."""
    return _here.is_direct


def leave_if_direct() -> None:
    """Elsewhere in ``run_direct``: what follows needs a loop."""
    if _here.is_direct:
        raise Elsewhere


def run_direct(coroutine: Coroutine[Any, Any, T]) -> T:
    """Runs a client's coroutine in this thread, without a loop. Elsewhere if that cannot be."""
    was_direct = _here.is_direct  # in a signal's handler, which runs in whatever the thread does
    _here.is_direct = True
    try:
        coroutine.send(None)
    except StopIteration as stop:
        value: T = stop.value
        return value
    finally:
        _here.is_direct = was_direct
        coroutine.close()
    raise RuntimeError("a direct call waited for a loop")


def _timeval(timeout_s: float) -> bytes:
    # Not 0, which the system takes for ever.
    return _TIMEVAL.pack(*divmod(max(round(timeout_s * 1e6), 1), 1_000_000))


class AsideLost(Exception):
    """The connection ended without a reply."""


class SaidBye(Exception):
    """The server ended the session, and says that the request did not run."""


def _connected_to(target: str, timeout_s: float, tls: TlsIdentity | None) -> socket.socket | TlsSocket:
    if not target.startswith("\0"):
        host, _, port = target.rpartition(":")
        connected = socket.create_connection((host.strip("[]"), int(port)), timeout_s)
        if tls is None:
            return connected
        from sigmaos_ray.tls.blockingsocket import TlsSocket  # with ``ssl``: most procs stay on their host

        return TlsSocket(connected, tls, timeout_s)
    unix = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # Where a server takes no connections and its queue is full, this is how long a connect waits.
        unix.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _timeval(timeout_s))
        plain.connect_local(unix, target)
    except OSError:
        unix.close()
        raise
    return unix


class DataRoom:
    """Where the thread that waits for an answer wants its data, if they come apart and find room there."""

    __slots__ = ("filled_bytes", "view")

    def __init__(self, view: memoryview) -> None:
        self.view = view
        self.filled_bytes: int | None = None
        """None: they did not."""


class Received(NamedTuple):
    """A message that came, and the payload behind it."""

    frames: Frames
    payload: bytes | None = None


class AsideConnection:
    """One connection, for one thread at a time. ``close`` it, always after an error: what comes next may be the reply
    to a request that was given up."""

    def __init__(
        self,
        target: str,
        config: Config,
        connected: socket.socket | None = None,
        tls: TlsIdentity | None = None,
        timeout_s: float | None = None,
    ) -> None:
        """Dials, for ``timeout_s`` at most, unless it is given a socket that is ``connected``. OSError if there is
        nobody, TlsRefused and Perm among them."""
        self.target = target
        self.tls = tls
        self._message_bytes_max = config.wire.message_bytes_max
        limits = config.session
        connect_s = limits.connect_timeout_s if timeout_s is None else min(limits.connect_timeout_s, timeout_s)
        self._socket = connected or _connected_to(target, connect_s, tls)
        plain.quicken(self._socket)
        self._socket.settimeout(None)
        self._look_s = limits.slow_call_s
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _timeval(self._look_s))
        self._read_wait_s = 0.0
        self.acks: list[int] = []
        """Of replies that came here: they go with the next request."""
        self.is_ending = False
        """The server ends it."""
        self._ahead = b""
        """What goes out with the next message."""
        self._sends_payloads = False
        """Behind their messages: the server knows that form."""
        self._on_welcome: Callable[[Welcome], None] | None = None
        self._came_too = b""
        """Behind the welcome."""

    def greet(self, hello: Frames, ends_s: float) -> None:
        """Makes it one of a session. OSError if the server refuses."""
        hello.hello.payloads = True
        self._send(plain.message(hello.SerializeToString()), ends_s)
        self._welcomed(self.receive(ends_s).frames.welcome)

    def _welcomed(self, welcome: Welcome) -> None:
        if not welcome.accepted:
            raise ConnectionRefusedError(str(wire.error_from_pb(welcome.error)))
        self._sends_payloads = welcome.payloads

    def greet_with_first(self, hello: Frames, on_welcome: Callable[[Welcome], None]) -> None:
        """The same together with the first request. ``on_welcome`` is called as its reply is received, which fails by
        OSError if the server refuses."""
        hello.hello.payloads = True
        self._sends_payloads = False
        self._ahead = plain.message(hello.SerializeToString())
        self._on_welcome = on_welcome

    def send(
        self,
        request: Request,
        ends_s: float | None = None,
        on_slow: Callable[[], None] | None = None,
        payload: Data | None = None,
    ) -> None:
        """Sends a request, and the acknowledgements that wait here. Blocks for as long as the server does not take it,
        at most to that moment. OSError, TimeoutError among them, if the server may not have got it whole. ``on_slow``:
        called from time to time while this waits. ``payload``: the request's data, if they are not within."""
        acks, self.acks = self.acks, []
        if payload is None:
            self._send(plain.message(wire.request_frame(request, acks)), ends_s, on_slow)
            return
        head, payload = plain.pieces(Parcel(request, payload, acks), apart=self._sends_payloads)
        if self._ahead:
            head, self._ahead = self._ahead + head, b""
        try:
            count = self._socket.sendmsg((head, payload))
        except BlockingIOError:
            count = 0
        if count < len(head):
            self._send(head[count:], ends_s, on_slow)
            count = len(head)
        if rest := memoryview(payload)[count - len(head) :]:
            self._send(rest, ends_s, on_slow)

    def _send(
        self, rest: bytes | memoryview, ends_s: float | None = None, on_slow: Callable[[], None] | None = None
    ) -> None:
        if self._ahead:
            rest, self._ahead = self._ahead + rest, b""
        while (count := self._send_some(rest)) < len(rest):
            rest = memoryview(rest)[count:]
            if ends_s is not None and time.monotonic() >= ends_s:
                raise TimeoutError
            if on_slow is not None:
                on_slow()

    def _send_some(self, data: bytes | memoryview) -> int:
        """Waits for a moment at most; mostly the system takes all of it at once."""
        try:
            return self._socket.send(data)
        except BlockingIOError:
            return 0

    @property
    def is_near(self) -> bool:
        """Whether the server is on this machine: no message is long under way."""
        return self.target.startswith("\0")

    def receive(
        self, ends_s: float | None, on_slow: Callable[[], None] | None = None, data_room: DataRoom | None = None
    ) -> Received:
        """Blocks for the next message. TimeoutError once that moment is over; OSError if the connection ends.
        ``on_slow``: called from time to time while this waits."""
        on_welcome = self._on_welcome
        if on_welcome is not None:
            welcome = self._next(ends_s, on_slow).frames.welcome
            self._on_welcome = None
            self._welcomed(welcome)
            on_welcome(welcome)
        return self._next(ends_s, on_slow, data_room)

    def _next(
        self, ends_s: float | None, on_slow: Callable[[], None] | None, data_room: DataRoom | None = None
    ) -> Received:
        # What is read together with the message has to be copied.
        read_bytes = _READ_BYTES if data_room is None else _HEAD_BYTES
        data, self._came_too = self._came_too or self._read(read_bytes, ends_s, on_slow), b""
        begin, payload_bytes = plain.SIZE.size, None
        while len(data) < begin:
            data += self._read(_READ_BYTES, ends_s, on_slow)
        (size,) = plain.SIZE.unpack_from(data)
        if size & plain.HAS_PAYLOAD:
            begin = plain.SIZES.size
            while len(data) < begin:
                data += self._read(_READ_BYTES, ends_s, on_slow)
            size, payload_bytes = size ^ plain.HAS_PAYLOAD, plain.SIZES.unpack_from(data)[1]
        if size + (payload_bytes or 0) > self._message_bytes_max:
            raise ConnectionError(f"a message of {size + (payload_bytes or 0)} bytes")
        end = begin + size
        if len(data) < end:
            message, data = self._rest(size, data[begin:], ends_s, on_slow), b""
        else:
            message, data = data[begin:end], data[end:]
        payload = None
        if payload_bytes is not None:
            payload, data = data[:payload_bytes], data[payload_bytes:]
            if data_room is not None and payload_bytes <= len(data_room.view):
                self._fill(data_room, payload, payload_bytes, ends_s, on_slow)
            elif len(payload) < payload_bytes:
                payload = self._rest(payload_bytes, payload, ends_s, on_slow)
        if data:
            if self._on_welcome is not None:
                self._came_too = data
            else:  # behind the reply that is waited for only the server's last words can come
                self.is_ending = True
        return Received(wire.frames_from(message), payload)

    def _rest(self, size: int, begun: bytes, ends_s: float | None, on_slow: Callable[[], None] | None) -> bytes:
        """Something of a known size that has begun to come."""
        landing = plain.Landing(size, begun)
        while not landing.fill(self._read_into(landing.room, ends_s, on_slow)):
            pass
        return landing.take()

    def _fill(
        self, data_room: DataRoom, begun: bytes, size: int, ends_s: float | None, on_slow: Callable[[], None] | None
    ) -> None:
        filled = len(begun)
        data_room.view[:filled] = begun
        while filled < size:
            filled += self._read_into(data_room.view[filled:size], ends_s, on_slow)
        data_room.filled_bytes = size

    def _read(self, count: int, ends_s: float | None, on_slow: Callable[[], None] | None) -> bytes:
        while True:
            self._wait_at_most(ends_s)
            try:
                data = self._socket.recv(count)
            except BlockingIOError:
                if on_slow is not None:
                    on_slow()
                continue
            if not data:
                raise ConnectionError("the server closed it")
            return data

    def _read_into(self, room: memoryview, ends_s: float | None, on_slow: Callable[[], None] | None) -> int:
        while True:
            self._wait_at_most(ends_s)
            try:
                count = self._socket.recv_into(room, 0, _WHOLE)
            except BlockingIOError:
                if on_slow is not None:
                    on_slow()
                continue
            if not count:
                raise ConnectionError("the server closed it")
            return count

    def _wait_at_most(self, ends_s: float | None) -> None:
        """Of the next read. The system does it, and mostly it stays: a time-out of Python's asks the system two times
        more for each message. TimeoutError once that moment is over."""
        waits_s = self._look_s
        if ends_s is not None and (left_s := ends_s - time.monotonic()) < waits_s:
            if left_s <= 0:
                raise TimeoutError
            waits_s = left_s
        if waits_s != self._read_wait_s:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _timeval(waits_s))
            self._read_wait_s = waits_s

    def say_bye(self, ends_s: float, *, waits: bool) -> None:
        """Ends the session whose main connection this is. ``waits``: blocks until the server has read it, at most to
        that moment. OSError."""
        self._send(_BYE, ends_s)
        if waits:
            self.receive(ends_s)

    async def say_bye_on_loop(self, timeout_s: float) -> None:
        """The same, without blocking the running loop. It can only be closed afterwards."""
        loop = asyncio.get_running_loop()
        assert isinstance(self._socket, socket.socket), "a session's main connection here is a Unix socket"
        self._socket.setblocking(False)
        async with asyncio.timeout(timeout_s):
            await loop.sock_sendall(self._socket, _BYE)
            await loop.sock_recv(self._socket, _READ_BYTES)

    def leave(self) -> None:
        """The session that it was of is over; another one may bind it. OSError."""
        self._socket.sendall(_UNBIND)

    def wake(self) -> None:
        """The thread that waits here gets an error; from any thread."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def is_clean(self) -> bool:
        """True if nothing has come that nobody read: neither a message nor the end."""
        try:
            self._socket.recv(1, _LOOK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def close(self) -> None:
        """May be repeated."""
        self._socket.close()


class AsidePool:
    """The connections of one session, for as many threads as come. ``close`` it with the session."""

    def __init__(self, session_id: int, key: bytes, config: Config, tls: TlsIdentity | None = None) -> None:
        self._tls = tls
        self._hello = Frames(hello=Hello(session_id=session_id, key=key, bind=True))
        self._config = config
        self._idle: list[AsideConnection] = []
        """A stack, without the lock: append and pop are single steps of the interpreter. The one that was used last
        goes out first, so that a client with few threads keeps using the same ones."""
        self._lock = threading.Lock()
        self._all: set[AsideConnection] = set()
        self._dialling_count = 0
        self._not_until_s = 0.0
        self._is_closed = False
        self._os_pid = os.getpid()

    def take(self, address: str, plain_address: str, ends_s: float | None = None) -> AsideConnection:
        """A connection to the session's server that nobody else uses, for ``put_back`` or ``drop``. Blocks only to
        dial, at most to that moment of ``time.monotonic``. Elsewhere if there is none to be had."""
        if self._os_pid != os.getpid():
            raise Elsewhere  # in a forked child: what is idle here is the parent's
        try:
            return self._idle.pop()
        except IndexError:
            pass
        with self._lock:
            are_enough = len(self._all) + self._dialling_count >= self._config.session.connections_per_client_max
            if self._is_closed or are_enough or time.monotonic() < self._not_until_s:
                raise Elsewhere
            self._dialling_count += 1
        try:
            connection = self._dial(plain_targets(address, plain_address), ends_s)
        finally:
            with self._lock:
                self._dialling_count -= 1
        with self._lock:
            if self._is_closed:
                connection.close()
                raise Elsewhere
            self._all.add(connection)
        return connection

    def open(self, address: str, hello: Frames, on_welcome: Callable[[Welcome], None]) -> AsideConnection:
        """Makes the session's main connection one of these, where it can be a Unix socket; Elsewhere if not. See
        ``AsideConnection.greet_with_first``."""
        for target in plain_targets(address, ""):
            try:
                connection = _unbound.take(target, self._tls) or AsideConnection(target, self._config, tls=self._tls)
            except OSError as error:
                _log(f"no connection to {target!r}: {error}")
                continue
            connection.greet_with_first(hello, on_welcome)
            self._all.add(connection)
            self._idle.append(connection)
            return connection
        raise Elsewhere

    def take_out(self, connection: AsideConnection) -> bool:
        """It is the caller's from now on, if no thread uses it."""
        try:
            self._idle.remove(connection)
        except ValueError:
            return False
        with self._lock:
            self._all.discard(connection)
        return True

    def _dial(self, targets: list[str], ends_s: float | None) -> AsideConnection:
        limits = self._config.session
        pause_s = limits.no_plain_pause_s
        # Of all tries together: a server that is stopped takes connections, and greets none of them.
        dial_ends_s = time.monotonic() + limits.dial_timeout_s
        if ends_s is not None:
            dial_ends_s = min(dial_ends_s, ends_s)
        for target in targets:
            while (left_s := dial_ends_s - time.monotonic()) > 0:
                try:
                    kept = _unbound.take(target, self._tls)
                    connection = kept or AsideConnection(target, self._config, tls=self._tls, timeout_s=left_s)
                except OSError as error:
                    _log(f"no connection to {target!r}: {error}")
                    break
                try:
                    connection.greet(self._hello, dial_ends_s)
                except OSError as error:
                    _log(f"not bound: {error}")
                    connection.close()
                    # Somebody is there: lost on the way, or too many at the moment.
                    pause_s = limits.resume_timeout_s
                    if kept is None:
                        break
                except BaseException:
                    connection.close()
                    raise
                else:
                    return connection
        self._not_until_s = time.monotonic() + pause_s
        raise Elsewhere

    def put_back(self, connection: AsideConnection) -> None:
        """After a request that was answered, which leaves nothing on the connection."""
        if self._is_closed or connection.is_ending:
            self.drop(connection)
        else:
            # Should the pool be closed at this very moment, the server ends the connection with the session.
            self._idle.append(connection)

    def drop(self, connection: AsideConnection) -> None:
        """After any other."""
        with self._lock:
            self._all.discard(connection)
        connection.close()

    def close(self, *, keep: bool) -> None:
        """Ends them; threads that wait get an error. ``keep``: the session ends in order, and those that are idle may
        serve the next one. May be repeated."""
        with self._lock:
            self._is_closed = True
        with contextlib.suppress(IndexError):  # not by iterating: threads may put some back meanwhile
            while True:
                connection = self._idle.pop()
                with self._lock:
                    self._all.discard(connection)
                if keep:
                    _unbound.put(connection)
                else:
                    connection.close()
        if not keep:
            with self._lock:
                in_use = list(self._all)
            for connection in in_use:
                connection.wake()


class _Unbound:
    """This process's connections that sessions have left, by where they lead to: the next session there needs no new
    one."""

    _EACH_MAX: Final = 8

    def __init__(self) -> None:
        self._by_target: dict[tuple[str, TlsIdentity | None], list[AsideConnection]] = {}
        self._lock = threading.Lock()

    def take(self, target: str, tls: TlsIdentity | None) -> AsideConnection | None:
        while True:
            with self._lock:
                kept = self._by_target.get((target, tls))
                connection = kept.pop() if kept else None
                if not kept:
                    self._by_target.pop((target, tls), None)
            if connection is None or connection.is_clean():
                return connection
            connection.close()

    def close(self) -> None:
        """At the end of the process."""
        with self._lock:
            by_target, self._by_target = self._by_target, {}
        for connections in by_target.values():
            for connection in connections:
                connection.close()

    def put(self, connection: AsideConnection) -> None:
        """Leaves the session that it was of."""
        try:
            connection.acks.clear()
            connection.leave()
        except OSError:
            connection.close()
            return
        self.keep(connection)

    def keep(self, connection: AsideConnection) -> None:
        """One that is of no session."""
        with self._lock:
            kept = self._by_target.setdefault((connection.target, connection.tls), [])
            if len(kept) < self._EACH_MAX:
                kept.append(connection)
                return
        connection.close()


_unbound = _Unbound()


def _after_fork() -> None:
    global _unbound
    # Those of the parent are not to be used here, nor closed: they are closed with this object, and stay open there.
    _unbound = _Unbound()


def keep_unbound(connection: AsideConnection) -> None:
    """The next session with the server there gets it."""
    _unbound.keep(connection)


os.register_at_fork(after_in_child=_after_fork)


def _at_exit() -> None:
    _unbound.close()


atexit.register(_at_exit)


def answer_of(received: Received, seqno: int) -> Answer:
    """The answer to the one request that was outstanding. SaidBye if the server ended the session without running it,
    AsideLost for anything else; Inval for a payload of nothing."""
    frames, payload = received
    if payload is not None:
        check_reply(frames)
    for reply in frames.replies:
        if reply.seqno == seqno:
            return Answer(reply, payload)
    if frames.bye and frames.all_answered:
        raise SaidBye
    why: serr.SigmaError | str = wire.error_from_pb(frames.error) if frames.HasField("error") else "no reply"
    raise AsideLost(str(why))

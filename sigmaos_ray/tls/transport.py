"""TLS on a loop: between a connection's transport and the protocol that it is for.

asyncio's own would do, but for what it costs a small message, several times the encryption, and for what it does not
tell a server of connections whose handshake never ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING, Any

from sigmaos_ray.tls.identity import TlsRefused
from sigmaos_ray.tls.refusals import CLOSED
from sigmaos_ray.tls.stream import READ_BYTES, RECORD_BYTES, StreamEnded, TlsStream

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from sigmaos_ray.tls.identity import TlsIdentity

_scratches = threading.local()


def _scratch_of_thread() -> memoryview:
    """What comes is decrypted at once, so one buffer will do for all connections of a loop."""
    scratch: memoryview | None = getattr(_scratches, "view", None)
    if scratch is None:
        scratch = _scratches.view = memoryview(bytearray(READ_BYTES))
    return scratch


class _TlsTransport(asyncio.Transport):
    """What the protocol within has for its connection."""

    def __init__(self, outer: TlsProtocol, transport: asyncio.Transport, stream: TlsStream) -> None:
        super().__init__()
        self._outer = outer
        self._transport = transport
        # Each message asks: one call less.
        self.is_closing = transport.is_closing  # type: ignore[method-assign]
        self._encrypted = stream.encrypted
        self._stream = stream

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._transport.get_extra_info(name, default)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._transport.set_write_buffer_limits(high, low)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self.is_closing():
            self._transport.write(self._encrypted(data))  # type: ignore[arg-type]

    def pause_reading(self) -> None:
        self._outer.is_paused = True
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        if self._outer.is_paused:
            self._outer.is_paused = False
            self._transport.resume_reading()
            asyncio.get_running_loop().call_soon(self._outer.go_on)

    def close(self) -> None:
        if not self.is_closing():
            self._stream.end()
            self._transport.write(self._stream.outgoing())
            self._transport.close()

    def abort(self) -> None:
        self._transport.abort()


class TlsProtocol(asyncio.BufferedProtocol):
    """One connection's. The protocol ``inner`` is told of the connection once both ends have shown who they are.

    ``on_agreed`` is called before that; ``on_end`` when the connection ends, with why, if that was before. A connection
    that came and was refused stays until the other end closes it, or its maker aborts it: else the system would throw
    away what tells the other end why."""

    def __init__(
        self,
        inner: asyncio.BaseProtocol,
        context: ssl.SSLContext,
        *,
        is_server: bool,
        on_agreed: Callable[[TlsProtocol], object],
        on_end: Callable[[TlsProtocol, TlsRefused | None], object],
    ) -> None:
        self._inner = inner
        self._stream = TlsStream(context, is_server=is_server)
        self._is_server = is_server
        self._on_agreed = on_agreed
        self._on_end = on_end
        self._scratch = _scratch_of_thread()
        self._transport: asyncio.Transport | None = None
        self._is_agreed = False
        self._refused: TlsRefused | None = None
        self._is_aborted = False
        self.is_paused = False
        """Nothing is handed to the protocol within."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if self._is_aborted:
            transport.abort()
        elif not self._is_server:
            self._shake_hands()

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._scratch

    def buffer_updated(self, nbytes: int) -> None:
        if self._refused is not None:
            return
        self._stream.feed(self._scratch[:nbytes])
        if self._is_agreed or self._shake_hands():
            self.go_on()

    def _shake_hands(self) -> bool:
        assert self._transport is not None
        try:
            self._is_agreed = self._stream.shake_hands()
        except TlsRefused as refused:
            self._refuse(refused)
            return False
        if outgoing := self._stream.outgoing():
            self._transport.write(outgoing)
        if self._is_agreed:
            self._on_agreed(self)
            self._inner.connection_made(_TlsTransport(self, self._transport, self._stream))
        return self._is_agreed

    def go_on(self) -> None:
        """Hands on what is there."""
        transport, inner, stream = self._transport, self._inner, self._stream
        if self.is_paused or transport is None or transport.is_closing():
            return
        try:
            while True:
                if isinstance(inner, asyncio.BufferedProtocol):
                    if not (count := stream.read_into(inner.get_buffer(-1))):  # type: ignore[arg-type]
                        return
                    inner.buffer_updated(count)
                elif isinstance(inner, asyncio.Protocol):
                    if not (data := stream.read(RECORD_BYTES)):
                        return
                    inner.data_received(data)
                if not stream.has_more or self.is_paused or transport.is_closing():
                    return
        except StreamEnded:
            if transport is not None:
                transport.close()
        except TlsRefused as refused:
            self._refuse(refused)

    def _refuse(self, refused: TlsRefused) -> None:
        self._refused = refused
        transport = self._transport
        if transport is None:
            return
        if outgoing := self._stream.outgoing():
            transport.write(outgoing)
        if self._is_server and not self._is_agreed:
            with contextlib.suppress(OSError):  # the other end has gone meanwhile
                transport.write_eof()
        else:
            transport.close()

    def eof_received(self) -> None:
        """The connection is closed then."""

    def pause_writing(self) -> None:
        if self._is_agreed:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        if self._is_agreed:
            self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        refused = self._refused
        if not self._is_agreed and refused is None:
            refused = TlsRefused(str(exc or CLOSED))
        self._on_end(self, None if self._is_agreed else refused)
        if self._is_agreed:
            self._inner.connection_lost(refused or exc)

    def abort(self) -> None:
        """Ends the connection at once, also if it is still to come."""
        self._is_aborted = True
        if self._transport is not None:
            self._transport.abort()


async def open_connection(
    inner: asyncio.BaseProtocol, host: str, port: int, identity: TlsIdentity, protocols: tuple[str, ...] = ()
) -> None:
    """Connects ``inner`` to ``host:port``, and returns once that end has shown that it is of the same instance. OSError
    if there is nobody; TlsRefused, one of them, if it does not; Perm if this end has no certificate."""
    loop = asyncio.get_running_loop()
    agreed: asyncio.Future[None] = loop.create_future()

    def on_agreed(_: TlsProtocol) -> None:
        if not agreed.done():
            agreed.set_result(None)

    def on_end(_: TlsProtocol, refused: TlsRefused | None) -> None:
        if not agreed.done():
            agreed.set_exception(refused or TlsRefused(CLOSED))
            agreed.exception()  # looked at: who connects may have given up

    context = identity.client_context(protocols)
    protocol = TlsProtocol(inner, context, is_server=False, on_agreed=on_agreed, on_end=on_end)
    try:
        await loop.create_connection(lambda: protocol, host, port)
        await agreed
    except BaseException:  # cancelled as well: the connection has no other owner yet
        protocol.abort()
        raise

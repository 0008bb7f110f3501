"""Asks why a server could not be spoken to: gRPC says that in English, and of the end of a connection nothing."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, Final

from sigmaos_ray import serr
from sigmaos_ray.tls.identity import HTTP2, TlsRefused
from sigmaos_ray.tls.stream import TlsStream
from sigmaos_ray.tls.transport import open_connection

if TYPE_CHECKING:
    from sigmaos_ray.tls.identity import TlsIdentity

ASKS_FOR_TLS: Final = (
    "the server asks for TLS, and this client has no certificate: SIGMAOS_CREDENTIALS names a file that holds one"
)
NOT_TAKEN: Final = "the other end closed the connection behind the handshake: it may not take our certificate"
_TLS_RECORDS: Final = (0x15, 0x16)
"""What an answer to the beginning of a handshake begins with: an alert, or the handshake's next message."""


class _Listening(asyncio.Protocol):
    """Waits for a last word."""

    def __init__(self) -> None:
        self.ended: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        self._transport: asyncio.BaseTransport | None = None
        self.has_heard = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """The server speaks: it has nothing against us."""
        self.has_heard = True
        self._end(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(exc)

    def _end(self, exc: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_result(exc)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


async def why_refused(address: str, identity: TlsIdentity | None, timeout_s: float) -> str:
    """What keeps this end from speaking TLS with the gRPC server at ``host:port``; empty if that is nothing, or not to
    be found out in so long. ``identity``: None for an end that speaks none."""
    host, _, port = address.rpartition(":")
    try:
        async with asyncio.timeout(timeout_s):
            if identity is None:
                return ASKS_FOR_TLS if await _speaks_tls(host.strip("[]"), int(port)) else ""
            return await _last_word(host.strip("[]"), int(port), identity)
    except OSError:  # nobody is there, or in time
        return ""


async def _last_word(host: str, port: int, identity: TlsIdentity) -> str:
    listening = _Listening()
    try:
        await open_connection(listening, host, port, identity, HTTP2)
        # What the server makes of our certificate it says behind our handshake.
        ended = await listening.ended
        if isinstance(ended, TlsRefused):
            return str(ended)
        return "" if listening.has_heard else why_ours_is_none(identity) or NOT_TAKEN
    except (TlsRefused, serr.Perm) as refused:
        return str(refused)
    finally:
        listening.close()


def why_ours_is_none(identity: TlsIdentity) -> str:
    """What anybody of our own authority would have against our certificate; empty if nothing. Perm without one."""
    context = identity.new_context(is_server=False)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    client = TlsStream(context, is_server=False)
    server = TlsStream(identity.server_context(), is_server=True)
    try:
        for _ in range(2):
            client.shake_hands()
            server.feed(client.outgoing())
            server.shake_hands()
            client.feed(server.outgoing())
    except TlsRefused as refused:
        return str(refused).replace("the other end's", "our")
    return ""


async def _speaks_tls(host: str, port: int) -> bool:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    stream = TlsStream(context, is_server=False)
    stream.shake_hands()
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(stream.outgoing())
        first = await reader.read(1)
        return bool(first) and first[0] in _TLS_RECORDS
    finally:
        writer.close()

"""TLS as bytes in and bytes out, without a connection: what both kinds of connections are made of."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Final

from sigmaos_ray.tls.files import PEER_NAME
from sigmaos_ray.tls.identity import TlsRefused
from sigmaos_ray.tls.refusals import why

if TYPE_CHECKING:
    from collections.abc import Callable

READ_BYTES: Final = 1 << 16
"""What is read from a connection at a time."""
RECORD_BYTES: Final = 1 << 14
"""What TLS brings at a time, at most."""
BLOCK_BYTES: Final = 1 << 18
"""What is encrypted at a time: it is in memory twice meanwhile."""


class StreamEnded(Exception):
    """The other end has said its last word."""


class TlsStream:
    """One connection's. What came goes to ``feed``, what ``outgoing`` returns is to be sent. TlsRefused, also from a
    call that only reads, if the ends do not take each other: what is outgoing then tells the other one."""

    def __init__(self, context: ssl.SSLContext, *, is_server: bool) -> None:
        self._came = ssl.MemoryBIO()
        self._goes = ssl.MemoryBIO()
        name = None if is_server else PEER_NAME
        self._tls = context.wrap_bio(self._came, self._goes, server_side=is_server, server_hostname=name)
        # Each small message takes these steps: one call less is a microsecond.
        self.feed: Callable[[bytes | memoryview], int] = self._came.write
        """So much came."""
        self._take = self._goes.read
        self._write = self._tls.write
        self._read = self._tls.read
        self._pending = self._tls.pending

    def outgoing(self) -> bytes:
        """What is to be sent by now; empty if nothing is."""
        return self._goes.read() if self._goes.pending else b""

    @property
    def has_more(self) -> bool:
        """Whether a read may find something."""
        return bool(self._came.pending or self._pending())

    def shake_hands(self) -> bool:
        """Whether they have agreed; if not, more has to come."""
        try:
            self._tls.do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return False
        except (ssl.SSLError, ssl.CertificateError) as error:
            raise TlsRefused(why(error)) from error
        return True

    def read_into(self, room: memoryview) -> int:
        """How many bytes were put there; 0 if more has to come. StreamEnded after the last one."""
        try:
            count = self._read(len(room), room)
        except ssl.SSLWantReadError:
            return 0
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError) as error:
            raise StreamEnded from error
        except ssl.SSLError as error:
            raise TlsRefused(why(error)) from error
        if not count:
            raise StreamEnded
        return int(count)

    def read(self, count_max: int) -> bytes:
        """The same, as bytes."""
        try:
            data = self._read(count_max)
        except ssl.SSLWantReadError:
            return b""
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError) as error:
            raise StreamEnded from error
        except ssl.SSLError as error:
            raise TlsRefused(why(error)) from error
        if not data:
            raise StreamEnded
        return data

    def encrypted(self, data: bytes | memoryview) -> bytes:
        """What is to be sent of it, behind what is outgoing."""
        if data:
            self._write(data)
        return self._take()

    def end(self) -> None:
        """Nothing more is written; what is outgoing says so."""
        try:
            self._tls.unwrap()
        except ssl.SSLError:
            return  # the other end has not said the same yet, and need not

"""Connections of a server that are not what they want to be yet: in the midst of TLS's handshake."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from sigmaos_ray.tls.transport import TlsProtocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from sigmaos_ray.tls.identity import TlsIdentity, TlsRefused


class Handshakes:
    """Those of one door. ``end`` them with it.

    There are at most so many, each for so long. The oldest makes room: who has a certificate is done in a moment, and
    is not kept out by any number of those who have none and wait."""

    def __init__(
        self, identity: TlsIdentity, count_max: int, timeout_s: float, on_refused: Callable[[TlsRefused], object]
    ) -> None:
        """``on_refused``: told of those that come to nothing. Perm without a certificate."""
        self._on_refused = on_refused
        identity.server_context()
        self._identity = identity
        self._count_max = count_max
        self._timeout_s = timeout_s
        self._open: dict[TlsProtocol, asyncio.TimerHandle] = {}
        """Oldest first."""

    def __len__(self) -> int:
        return len(self._open)

    def begin(self, make: Callable[[], asyncio.BaseProtocol]) -> TlsProtocol:
        """One more: ``make`` gives the protocol that it is for."""
        if len(self._open) >= self._count_max:
            oldest = next(iter(self._open))
            self._forget(oldest)
            oldest.abort()
        context = self._identity.server_context()
        protocol = TlsProtocol(make(), context, is_server=True, on_agreed=self._forget, on_end=self._ended)
        self._open[protocol] = asyncio.get_running_loop().call_later(self._timeout_s, protocol.abort)
        return protocol

    def _forget(self, protocol: TlsProtocol) -> None:
        timer = self._open.pop(protocol, None)
        if timer is not None:
            timer.cancel()

    def _ended(self, protocol: TlsProtocol, refused: TlsRefused | None) -> None:
        self._forget(protocol)
        if refused is not None:
            self._on_refused(refused)

    def end(self) -> None:
        """May be repeated."""
        for protocol in list(self._open):
            self._forget(protocol)
            protocol.abort()

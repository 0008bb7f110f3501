"""What goes out on a plain connection of a loop."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterable

    from sigmaos_ray.sessp.payload import Data

_BLOCK_BYTES: Final = 1 << 17
"""What is handed to the transport at a time: of what the system does not take at once, the transport makes a copy."""


class Outflow:
    """Hands a transport what is to be sent, payloads in blocks, as the other end takes them. Its owner, the transport's
    protocol, passes on ``pause`` and ``resume``."""

    def __init__(self, transport: asyncio.Transport) -> None:
        # Paused as soon as the system does not take all: then the transport has the rest of one block.
        transport.set_write_buffer_limits(high=0)
        self._transport = transport
        self._waiting: deque[memoryview] = deque()
        self._is_paused = False

    @property
    def is_full(self) -> bool:
        """True while the other end does not read: no more should be written."""
        return self._is_paused or bool(self._waiting)

    @property
    def is_empty(self) -> bool:
        """Whether all was handed to the transport, which sends it, also if it is closed."""
        return not self._waiting

    def write(self, data: Data) -> None:
        """Sends it, behind what was written before; never blocks."""
        transport = self._transport
        if transport.is_closing():
            return
        if not self._waiting and len(data) <= _BLOCK_BYTES:
            transport.write(data)
        else:
            self._waiting.append(memoryview(data))
            self._go_on()

    def write_all(self, pieces: Iterable[Data]) -> None:
        """Sends one after the other."""
        for piece in pieces:
            self.write(piece)

    def _go_on(self) -> None:
        while self._waiting and not self._is_paused:
            first = self._waiting.popleft()
            if len(first) > _BLOCK_BYTES:
                self._waiting.appendleft(first[_BLOCK_BYTES:])
            self._transport.write(first[:_BLOCK_BYTES])

    def pause(self) -> None:
        """The transport takes no more now."""
        self._is_paused = True

    def resume(self) -> None:
        """It does again."""
        self._is_paused = False
        self._go_on()

    def close(self) -> None:
        """Closes the transport behind what was written. May be repeated."""
        for piece in self._waiting:
            self._transport.write(piece)
        self._waiting.clear()
        self._transport.close()

    def abort(self) -> None:
        """Ends it at once; what was not sent is dropped. May be repeated."""
        self._waiting.clear()
        self._transport.abort()

"""Arguments and results that are too large for one message: put together, and given out, part by part. Pure.

A channel has its own; what all of them hold together is bounded by the server's ``HeldBytes``. Parts travel as calls of
their own, so small calls pass in between, and a part that is sent again after a lost stream is answered by the session.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sigmaos_ray import serr
from sigmaos_ray.sessp.gathered import Gathered

if TYPE_CHECKING:
    from sigmaos_ray.config import Rpc


class HeldBytes:
    """Bytes of payloads that a server holds for all its channels together."""

    def __init__(self, limits: Rpc) -> None:
        self.limits = limits
        self.size_bytes = 0
        self.results_count = 0
        """Results that clients have yet to take; a drain waits for them."""

    def take(self, what: str, size_bytes: int) -> None:
        """Makes room for a payload. Inval for one that is too large by itself, Retry if there is no room now."""
        if size_bytes > self.limits.payload_bytes_max:
            limit = self.limits.payload_bytes_max
            raise serr.Inval(what, f"{size_bytes} bytes: an RPC's payload has at most {limit}")
        if self.size_bytes + size_bytes > self.limits.payloads_bytes_max:
            raise serr.Retry(what, f"the server holds {self.size_bytes} bytes of payloads, there is no room now")
        self.size_bytes += size_bytes

    def give_back(self, size_bytes: int) -> None:
        """A payload that room was taken for is gone."""
        self.size_bytes -= size_bytes


class _Argument:
    """An argument of which not all parts have come, perhaps. They come in any order."""

    def __init__(self, size_bytes: int) -> None:
        self.data = Gathered(size_bytes)
        self._ranges: dict[int, int] = {}
        """Start -> end of what has come; neighbours are joined, so a complete one has a single entry."""

    def put(self, offset: int, part: bytes) -> None:
        """Inval for a part that does not fit, or has come before: the client has mixed up its numbers."""
        end = offset + len(part)
        if not part or end > self.data.size_bytes:
            raise serr.Inval("part", f"{len(part)} bytes at {offset}: the argument has {self.data.size_bytes}")
        for start, stop in self._ranges.items():
            if offset < stop and start < end:
                raise serr.Inval("part", f"bytes {offset} to {end} came already, at least in part")
        self.data.put(offset, part)
        for start, stop in list(self._ranges.items()):
            if stop == offset or start == end:
                del self._ranges[start]
                offset, end = min(offset, start), max(end, stop)
        self._ranges[offset] = end

    @property
    def is_complete(self) -> bool:
        return self._ranges == {0: self.data.size_bytes}


class Payloads:
    """The payloads of one channel. ``close`` gives back what they hold. Numbers of arguments are the client's, those of
    results the server's."""

    def __init__(self, held: HeldBytes) -> None:
        self._held = held
        self._arguments: dict[int, _Argument] = {}
        self._results: dict[int, bytes] = {}
        self._last = 0

    def send(self, number: int, offset: int, size_bytes: int, part: bytes) -> None:
        """Takes a part of an argument of ``size_bytes``; the first one that comes makes room for all of it: an argument
        whose first part was taken does not fail for want of room later. Inval, Retry."""
        argument = self._arguments.get(number)
        if argument is None:
            # Before the buffer is made: its size is the client's word.
            self._held.take("argument", size_bytes)
            argument = self._arguments[number] = _Argument(size_bytes)
        elif (before_bytes := argument.data.size_bytes) != size_bytes:
            raise serr.Inval("part", f"of an argument of {size_bytes} bytes, which had {before_bytes} before")
        argument.put(offset, part)

    def argument(self, number: int) -> bytes:
        """A complete argument, which is then the caller's. Inval for one that is not complete."""
        argument = self._arguments.get(number)
        if argument is None or not argument.is_complete:
            raise serr.Inval("argument", f"number {number} is not complete")
        self.drop_argument(number)
        return argument.data.take()

    def drop_argument(self, number: int) -> None:
        """Harmless for one that is not there."""
        argument = self._arguments.pop(number, None)
        if argument is not None:
            self._held.give_back(argument.data.size_bytes)

    def keep(self, result: bytes) -> int:
        """Keeps a result until it is dropped; returns its number. Inval or Retry if there is no room: the handler has
        run, but its caller gets no result."""
        self._held.take("result", len(result))
        self._held.results_count += 1
        self._last += 1
        self._results[self._last] = result
        return self._last

    def take(self, number: int, offset: int, size: int) -> bytes:
        """A part of a result. Inval for one that is not kept, or has no such part."""
        result = self._results.get(number)
        if result is None:
            raise serr.Inval("result", f"number {number} is not kept")
        limit = self._held.limits.part_bytes
        if not 0 < size <= limit or offset + size > len(result):
            raise serr.Inval("result", f"{size} bytes at {offset}: it has {len(result)}, a part at most {limit}")
        return result[offset : offset + size]

    def drop_result(self, number: int) -> None:
        """Harmless for one that is not there."""
        result = self._results.pop(number, None)
        if result is not None:
            self._held.results_count -= 1
            self._held.give_back(len(result))

    def close(self) -> None:
        """Drops all of them. May be repeated."""
        for number in list(self._arguments):
            self.drop_argument(number)
        for number in list(self._results):
            self.drop_result(number)

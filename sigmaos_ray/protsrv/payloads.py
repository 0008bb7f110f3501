"""Arguments and results that are too large for one message: put together, and given out, part by part. Pure.

A channel has its own; what all of them hold together is bounded by the server's ``Held``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sigmaos_ray import serr

if TYPE_CHECKING:
    from sigmaos_ray.config import Rpc


class Held:
    """Bytes of payloads that a server holds for all its channels."""

    def __init__(self, limits: Rpc) -> None:
        self.limits = limits
        self.size_bytes = 0
        self.results_count = 0

    def take(self, what: str, size: int) -> None:
        """Inval for one that is too large by itself, Retry if there is no room now."""
        if size > self.limits.payload_bytes_max:
            raise serr.Inval(what, f"{size} bytes: an RPC's payload has at most {self.limits.payload_bytes_max}")
        if self.size_bytes + size > self.limits.payloads_bytes_max:
            raise serr.Retry(what, f"the server holds {self.size_bytes} bytes of payloads, there is no room now")
        self.size_bytes += size

    def give_back(self, size: int) -> None:
        self.size_bytes -= size


class _Argument:
    def __init__(self, size: int) -> None:
        self.data = bytearray(size)
        self.came: dict[int, int] = {}
        """Start -> end of what has come; neighbours are joined, so a complete one has a single entry."""

    def put(self, offset: int, part: bytes) -> None:
        end = offset + len(part)
        if not part or end > len(self.data):
            raise serr.Inval("part", f"{len(part)} bytes at {offset}: the argument has {len(self.data)}")
        for start, stop in self.came.items():
            if offset < stop and start < end:
                raise serr.Inval("part", f"bytes {offset} to {end} came already, at least in part")
        self.data[offset:end] = part
        for start, stop in list(self.came.items()):
            if stop == offset or start == end:
                del self.came[start]
                offset, end = min(offset, start), max(end, stop)
        self.came[offset] = end

    @property
    def is_complete(self) -> bool:
        return self.came == {0: len(self.data)}


class Payloads:
    """Those of one channel. ``close`` gives back what they hold."""

    def __init__(self, held: Held) -> None:
        self._held = held
        self._arguments: dict[int, _Argument] = {}
        self._results: dict[int, bytes] = {}
        self._last = 0

    def send(self, number: int, offset: int, size: int, part: bytes) -> None:
        """A part of an argument of ``size`` bytes; the first one that comes makes room for all of it."""
        argument = self._arguments.get(number)
        if argument is None:
            self._held.take("argument", size)
            argument = self._arguments[number] = _Argument(size)
        elif len(argument.data) != size:
            raise serr.Inval("part", f"of an argument of {size} bytes, which had {len(argument.data)} before")
        argument.put(offset, part)

    def argument(self, number: int) -> bytes:
        """A complete argument, which is then the caller's. Inval for one that is not complete."""
        argument = self._arguments.get(number)
        if argument is None or not argument.is_complete:
            raise serr.Inval("argument", f"number {number} is not complete")
        self.drop_argument(number)
        return bytes(argument.data)

    def drop_argument(self, number: int) -> None:
        argument = self._arguments.pop(number, None)
        if argument is not None:
            self._held.give_back(len(argument.data))

    def keep(self, result: bytes) -> int:
        """Keeps a result until it is dropped; returns its number."""
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
        result = self._results.pop(number, None)
        if result is not None:
            self._held.results_count -= 1
            self._held.give_back(len(result))

    def close(self) -> None:
        for number in list(self._arguments):
            self.drop_argument(number)
        for number in list(self._results):
            self.drop_result(number)

"""What becomes of bytes that are written: held until they are published, or dropped, whole.

Nothing of a file shows before ``publish``. The exceptions are what nobody can take back: a pipe, a device and a leased
file, larger than one message, are written in place.
"""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from sigmaos_ray import serr
from sigmaos_ray.sigmap import OAPPEND, OEXCL, OWRITE

if TYPE_CHECKING:
    from sigmaos_ray.blocking import Writer
    from sigmaos_ray.sigmap import Mode, Perm

PART_BYTES: Final = 1 << 20


class Waiting(NamedTuple):
    """Where contents wait until they are published."""

    beside: str
    """A name of its own, on the same server."""
    target: str
    """What it is to be renamed to: links are followed."""
    perm: Perm


class DeliveringFs(Protocol):
    """What a delivery asks of the file system."""

    @property
    def message_bytes_max(self) -> int:
        """The most that is put in one message, in one moment."""

    def put_whole(self, path: str, data: bytes | bytearray, flags: Mode) -> None: ...

    def open_writer(self, path: str, mode: Mode, perm: Perm = ...) -> Writer: ...

    def place_beside(self, path: str) -> Waiting | None:
        """Where a file may be made that is to take the place of what ``path`` leads to; None where it has to be written
        in place, or in S3, which shows it at the close."""

    def take_place(self, path: str, target: str) -> None:
        """A rename."""

    def remove_quietly(self, path: str) -> None:
        """Removes what may be there. Its server may be gone."""


class Held:
    """Whole contents, or what is appended, of up to one message: published by it, in one moment."""

    def __init__(self, fs: DeliveringFs, path: str, flags: Mode) -> None:
        self._fs = fs
        self.path = path
        self.flags = flags
        """OEXCL or OAPPEND."""
        self.data = bytearray()

    def fits(self, count: int) -> bool:
        """Whether ``count`` bytes more are still one message."""
        return len(self.data) + count <= self._fs.message_bytes_max

    def write(self, view: memoryview) -> None:
        self.data += view

    def finish(self) -> None:
        """Nothing is under way."""

    def publish(self) -> None:
        self._fs.put_whole(self.path, self.data, self.flags)

    def drop(self) -> None:
        self.data.clear()

    def grown(self) -> Delivery:
        """What takes over as it gets too large, with what is here."""
        larger: Delivery
        if self.flags & OAPPEND:
            larger = Spooled(self._fs, self.path)
        elif (place := self._fs.place_beside(self.path)) is None:
            larger = InPlace(self._fs, self.path, self.flags)
        else:
            larger = Beside(self._fs, place, is_exclusive=bool(self.flags & OEXCL))
        larger.write(memoryview(self.data))
        self.data = bytearray()
        return larger


class Spooled:
    """More than a message that is appended. Sent at once it could not be taken back: it waits in a local file, and is
    sent at the end, in parts."""

    def __init__(self, fs: DeliveringFs, path: str) -> None:
        self._fs = fs
        self._path = path
        self._file: Any = tempfile.TemporaryFile()  # noqa: SIM115  # until it is published or dropped

    def write(self, view: memoryview) -> None:
        self._file.write(view)

    def finish(self) -> None:
        """Nothing is under way."""

    def publish(self) -> None:
        self._file.seek(0)
        with self._file, self._fs.open_writer(self._path, OWRITE | OAPPEND) as stream:
            while part := self._file.read(PART_BYTES):
                stream.write(part)

    def drop(self) -> None:
        self._file.close()


class InPlace:
    """A stream to the file itself: S3 shows it at the close."""

    def __init__(self, fs: DeliveringFs, path: str, flags: Mode) -> None:
        self._stream = fs.open_writer(path, OWRITE | flags)

    def write(self, view: memoryview) -> None:
        self._stream.write(view)

    def finish(self) -> None:
        """Not closed: in S3 it may still be dropped."""

    def publish(self) -> None:
        self._stream.close()

    def drop(self) -> None:
        self._stream.abort()


class Beside:
    """A stream to a file beside the one that it is to be, which it takes the place of in one moment."""

    def __init__(self, fs: DeliveringFs, place: Waiting, *, is_exclusive: bool) -> None:
        self._fs = fs
        self._target = place.target
        self._is_exclusive = is_exclusive
        self._beside = place.beside
        self._stream = fs.open_writer(place.beside, OWRITE | OEXCL, place.perm)

    def write(self, view: memoryview) -> None:
        self._stream.write(view)

    def finish(self) -> None:
        try:
            self._stream.close()
        except BaseException:  # whatever it was, nothing is to stay
            self.drop()
            raise

    def publish(self) -> None:
        try:
            self.finish()
            if self._is_exclusive:
                self._take_name()
            else:
                self._fs.take_place(self._beside, self._target)
        except BaseException:  # whatever it was, nothing is to stay
            self.drop()
            raise

    def _take_name(self) -> None:
        # A rename would replace what somebody made meanwhile. Who makes the empty file has the name.
        self._fs.put_whole(self._target, b"", OEXCL)
        try:
            self._fs.take_place(self._beside, self._target)
        except BaseException:  # interrupted, too: the name is free again
            self._fs.remove_quietly(self._target)
            raise

    def drop(self) -> None:
        self._stream.abort()
        self._fs.remove_quietly(self._beside)


Delivery = Held | Spooled | InPlace | Beside


def started(fs: DeliveringFs, path: str, mode: str) -> Held:
    """The delivery of a file that is opened by ``mode``: wb, xb or ab."""
    return Held(fs, path, {"wb": 0, "xb": OEXCL, "ab": OAPPEND}[mode])


def quietly(delivery: Delivery) -> None:
    """Drops what nobody waits for: its server may be gone."""
    try:
        delivery.drop()
    except (serr.SigmaError, RuntimeError):
        return

"""What every cache offers, whoever keeps the values; what a miss is, and what a key may be (CA-2)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, Protocol

from sigmaos_ray import serr

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

KEY_BYTES_MAX: Final = 250
"""As memcached has it."""
_LENGTH: Final = struct.Struct("<I")
_MISS: Final = "key "


class Cache(Protocol):
    """A client of a cache, for any number of threads. ``close`` it.

    A look at a server that does not answer is a miss. A change raises if it did not reach its server, or may not have.
    """

    def get(self, key: str) -> bytes:
        """The value. NotFound with the object ``key <key>``: a miss."""

    def get_many(self, keys: Iterable[str]) -> dict[str, bytes]:
        """The values of those of the keys that are there."""

    def put(self, key: str, value: bytes, ttl_s: float | None = None) -> None:
        """Replaces what is there. ``ttl_s``: so long it is kept at most."""

    def put_many(self, values: Mapping[str, bytes], ttl_s: float | None = None) -> None:
        """Puts each by itself, as ``put``: if it raises, some may have been put."""

    def append(self, key: str, value: bytes) -> None:
        """Adds one more value of the key, for ``get_vals``."""

    def get_vals(self, key: str) -> list[bytes]:
        """The values that were appended. NotFound if there is none; Inval for a key that was put otherwise."""

    def delete(self, key: str) -> bool:
        """Whether it was there. Afterwards it is not."""

    def close(self) -> None:
        """May be repeated."""


def miss(key: str) -> serr.NotFound:
    """The error of a key that is not there."""
    return serr.NotFound(f"{_MISS}{key}")


def is_miss(error: BaseException) -> bool:
    """True if a key was not there, as opposed to a cache that does not answer."""
    return isinstance(error, serr.NotFound) and error.obj.startswith(_MISS)


def check_key(key: str) -> None:
    """Inval for what no cache takes: no UTF-8, empty, over 250 bytes of it, with spaces or control characters."""
    size = len(serr.check_utf8("key", key).encode())
    if not 0 < size <= KEY_BYTES_MAX:
        raise serr.Inval(key[:50], f"a key of {size} bytes: it has 1 to {KEY_BYTES_MAX}")
    # memcached's protocol is lines of words: a key with a space in it would be two.
    if any(letter <= " " or letter == "\x7f" for letter in key):
        raise serr.Inval(key, "a key has neither spaces nor control characters")


def packed(value: bytes) -> bytes:
    """A value as it is appended: its length (4 bytes, little end first), and itself."""
    return _LENGTH.pack(len(value)) + value


def unpacked(key: str, data: bytes) -> list[bytes]:
    """The values that were appended. Inval for data that is something else."""
    values: list[bytes] = []
    at = 0
    while at < len(data):
        end = at + _LENGTH.size
        if end <= len(data):
            end += _LENGTH.unpack_from(data, at)[0]
        # A value that was put may by chance look like one that was appended; this finds most that do not.
        if end > len(data):
            raise serr.Inval(f"key {key}", "its value was not appended")
        values.append(data[at + _LENGTH.size : end])
        at = end
    return values

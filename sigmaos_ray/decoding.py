"""msgspec's decoders, made one at a time.

What there is to know of a type msgspec works out when it first meets it, in Python code that lets other threads in. One
that meets the same type meanwhile reads what is half made, and the process crashes (msgspec 0.22). So decoders are made
here, under a lock, best where a module is imported; nobody decodes into a type in another way.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_making = threading.RLock()


def json_decoder(kind: type[T]) -> Callable[[bytes | str], T]:
    """Decodes JSON into a type, from any thread. What it returns raises msgspec.DecodeError."""
    with _making:
        decode_utf8 = msgspec.json.Decoder(kind).decode

    def decode(data: bytes | str) -> T:
        try:
            return decode_utf8(data)
        except UnicodeError as error:  # of text within it, which msgspec leaves to Python
            raise msgspec.DecodeError(str(error)) from error

    return decode


def msgpack_decoder(kind: type[T]) -> Callable[[bytes], T]:
    """The same for MessagePack."""
    with _making:
        return msgspec.msgpack.Decoder(kind).decode


def converted(value: Any, kind: type[T]) -> T:
    """A value of plain types as one of ``kind``. Raises msgspec.ValidationError."""
    with _making:
        return msgspec.convert(value, kind)

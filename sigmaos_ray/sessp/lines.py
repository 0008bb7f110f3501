"""Lines: plain connections for the calls of one RPC channel, one at a time, without an event loop at the client. Pure.

A line begins with its token, of ``TOKEN_BYTES``. Then each message is the sizes of two frames (``<II``) and the frames:
those of the call as Twriteread has them. In a reply whose first size has the bit ``FAILED``, that frame is an Rerror:
the call did not get to a handler.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

TOKEN_BYTES: Final = 16
SIZES: Final = struct.Struct("<II")
FAILED: Final = 1 << 31
HEADER_BYTES_MAX: Final = 64 << 10


def message(first: bytes, second: bytes, flag: int = 0) -> bytes:
    return SIZES.pack(len(first) | flag, len(second)) + first + second


def joined(frames: Sequence[bytes]) -> bytes:
    return message(frames[0], frames[1])

"""Lines and trunks: plain connections for the calls of one RPC channel. The format of their messages, pure.

Both are short cuts past gRPC and, for threads, past the event loop; a call may go over the session instead at any time,
and does where neither can be had. They carry nothing but calls, and end with the channel that they belong to.

A line is for one call at a time, from a thread without an event loop. It begins with its token, of ``TOKEN_BYTES``.
Then each message is the sizes of two frames (``<II``) and the frames: those of the call as Twriteread has them. In a
reply whose first size has the bit ``FAILED``, that frame is an Rerror: the call did not get to a handler.

A trunk is for calls side by side. It differs in that a number of the client's, not 0, comes before the sizes; the reply
has the number of its call. A message without frames gives a call up. At its end a server sends a reply with the number
0 and the bit ``FAILED``, whose second frame has the numbers of the calls that may have run; of the others without a
reply none did.
"""

from __future__ import annotations

import struct
from typing import Final

TOKEN_BYTES: Final = 16
SIZES: Final = struct.Struct("<II")
"""Before each message of a line: the sizes of its two frames."""
FAILED: Final = 1 << 31
"""In the first size of a reply: the first frame is an Rerror, and no handler saw the call."""
HEADER_BYTES_MAX: Final = 64 << 10
"""Of the first frame; whoever sends a longer one is cut off."""
NUMBERED: Final = struct.Struct("<III")
"""Before each message of a trunk: the call's number, and the sizes of its two frames."""
NUMBER: Final = struct.Struct("<I")
GOODBYE: Final = 0
"""The number of a trunk's last message."""
TRUNK_ARGUMENT_BYTES_MAX: Final = 64 << 10
"""A call with a larger argument goes another way: it would hold up the small ones."""
TRUNK_CALLS_MAX: Final = 1024
"""Calls of one trunk that run at a time. A client makes no more; one that does is refused them."""


def line_message(first: bytes, second: bytes, flag: int = 0) -> bytes:
    """A message of a line. ``flag``: ``FAILED`` or 0."""
    return SIZES.pack(len(first) | flag, len(second)) + first + second


def trunk_message(number: int, first: bytes, second: bytes, flag: int = 0) -> bytes:
    """A message of a trunk. ``flag``: ``FAILED`` or 0."""
    return NUMBERED.pack(number, len(first) | flag, len(second)) + first + second

"""Callers' buffers as bytes."""

from __future__ import annotations

from typing import Any


def octets(data: Any) -> memoryview:
    """The bytes of whatever Python's own files take; not copied, but where that cannot be. TypeError for what has no
    buffer, text among it."""
    try:
        view = memoryview(data)
    except ValueError:
        # Items that memoryview has no name for, numpy's times say: their bytes are as good, and this asks for no name.
        return memoryview(b"".join([data]))
    if not view.nbytes:  # a zero in the shape, which no cast takes
        return memoryview(b"")
    return view.cast("B") if view.c_contiguous else memoryview(view.tobytes())

"""Bytes of a known size that come in parts."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sigmaos_ray.sessp.payload import Data


class Gathered:
    """A buffer that parts are put into, in any order, and that becomes bytes without a copy."""

    def __init__(self, size_bytes: int) -> None:
        self.size_bytes = size_bytes
        self._file = io.BytesIO()
        if size_bytes:
            self._file.seek(size_bytes - 1)
            self._file.write(b"\0")

    def put(self, offset: int, part: Data) -> None:
        """Within the size: that is the caller's to see to."""
        self._file.seek(offset)
        self._file.write(part)

    def take(self) -> bytes:
        """The contents."""
        return self._file.getvalue()

"""How this process's C allocator treats freed memory; large messages depend on it.

By default glibc gives the free end of the heap back to the system at once, and maps large blocks each time anew. A
message of 1 MiB then has its pages faulted in again with each copy: to serialize one takes 2.6 ms, else 0.2 ms.
"""

from __future__ import annotations

import ctypes
import functools
from typing import Final

# glibc's numbers, from its malloc.h: ctypes sees no macros.
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_TRIM_BYTES: Final = 16 << 20
_MMAP_BYTES: Final = 8 << 20
"""Above the largest message."""


@functools.cache
def keep_freed_memory() -> bool:
    """Lets the allocator keep up to 16 MiB for the next message. It holds for the whole process, and may be asked for
    again. False where the C library has no such setting; then nothing changes."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    # Both: either alone leaves the copies where they were.
    return bool(mallopt(_M_MMAP_THRESHOLD, _MMAP_BYTES) and mallopt(_M_TRIM_THRESHOLD, _TRIM_BYTES))

"""What the kernel is told of an object. Pure."""

from __future__ import annotations

import os
import stat as modes
from typing import Any

from sigmaos_ray.sigmap import DMDEVICE, DMNAMEDPIPE, DMSOCKET, Stat

BLOCK_BYTES = 512


def kind_of(stat: Stat) -> int:
    """The type bits of a mode. An endpoint file is the directory behind it. A pipe is a socket: to the kernel a pipe
    would be one of its own, which nobody of the namespace writes, and opening it would wait for ever; a socket is there
    to be seen, and cannot be opened (ENXIO)."""
    if stat.is_dir or stat.is_endpoint:
        return modes.S_IFDIR
    if stat.is_symlink:
        return modes.S_IFLNK
    return modes.S_IFSOCK if stat.mode & (DMNAMEDPIPE | DMSOCKET) else modes.S_IFREG


def is_stream(stat: Stat) -> bool:
    """Whether it is read until it ends, as its length says nothing."""
    return bool(stat.mode & DMDEVICE)


def attributes_of(stat: Stat) -> dict[str, Any]:
    """Of the user who mounted: to others, what servers allow him counts. Times in nanoseconds."""
    kind = kind_of(stat)
    size = stat.length if kind in (modes.S_IFREG, modes.S_IFLNK) else 0
    changed_ns = int(stat.mtime * 1e9)
    # Endpoint files are nobody's to run or to enter, but what they lead to is.
    perm = stat.perm | 0o555 if kind == modes.S_IFDIR else stat.perm
    return {
        "st_mode": kind | perm,
        "st_nlink": 2 if kind == modes.S_IFDIR else 1,
        "st_size": size,
        "st_blocks": -(-size // BLOCK_BYTES),
        "st_uid": os.getuid(),
        "st_gid": os.getgid(),
        "st_mtime": changed_ns,
        "st_ctime": changed_ns,
        "st_atime": changed_ns,
    }

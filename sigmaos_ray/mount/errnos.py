"""What the kernel is told of an error. Pure."""

from __future__ import annotations

import errno
from typing import Final

from sigmaos_ray import serr

_NUMBERS: Final[tuple[tuple[type[serr.SigmaError], int], ...]] = (
    (serr.NotFound, errno.ENOENT),
    (serr.Exists, errno.EEXIST),
    (serr.IsDir, errno.EISDIR),
    (serr.NotDir, errno.ENOTDIR),
    (serr.NotEmpty, errno.ENOTEMPTY),
    (serr.Perm, errno.EACCES),
    (serr.NoCreate, errno.EPERM),
    (serr.NoRemove, errno.EPERM),
    (serr.NoWrite, errno.EACCES),
    (serr.NotSupported, errno.EOPNOTSUPP),
    (serr.NotSymlink, errno.EINVAL),
    (serr.NotFile, errno.EINVAL),
    (serr.Inval, errno.EINVAL),
    (serr.Stale, errno.ESTALE),
    (serr.Version, errno.EBUSY),
    (serr.Retry, errno.EAGAIN),
    (serr.Timeout, errno.ETIMEDOUT),
    (serr.Unreachable, errno.EHOSTUNREACH),
)
"""The first that fits. All else is EIO: whether it was done nobody knows, or what it was nobody foresaw."""


def errno_of(error: serr.SigmaError) -> int:
    """The number that programs then see in words (``Directory not empty``)."""
    return next((number for kind, number in _NUMBERS if isinstance(error, kind)), errno.EIO)


ACROSS: Final = errno.EXDEV
"""Of a rename that the servers do not make in one moment: ``mv`` then copies and removes."""

"""What ux decides without touching the disk: modes, identities, versions. Pure.

Links of SigmaOS (symlinks, endpoint files) are regular files on the host with the sticky bit, which no other regular
file carries: it is part of the inode, so it survives restarts, needs no extended attributes, and is there in the same
moment as the file. The owner's execute bit tells an endpoint file from a symlink. Like symlinks in Unix, links
have no permissions of their own: they show 0o777.

Pipes of SigmaOS are FIFOs on the host: what nobody else makes by accident, takes the name for everybody at once, and
blocks nobody who lists the tree. Their data is in the server's memory, so a FIFO that this server did not make, be it
of an earlier life or of a program of the host, is not shown.
"""

from __future__ import annotations

import stat
from collections import OrderedDict
from typing import Final

import msgspec

from sigmaos_ray import serr
from sigmaos_ray.sigmap import DMDEVICE, DMDIR, DMMOUNT, DMNAMEDPIPE, DMSYMLINK, PERM_MASK, Perm

_KINDS: Final = DMDIR | DMSYMLINK | DMMOUNT | DMNAMEDPIPE
_ALONE: Final = DMDIR | DMNAMEDPIPE
"""Kinds that no other goes with."""
# Without execute bits: the owner's tells the two kinds of links apart.
_LINK_MODE: Final = stat.S_ISVTX | 0o666
_LINK_PERM: Final = 0o777

VERSIONS_KEPT_MAX: Final = 65_536
"""Versions remembered of objects that nobody holds any more."""


class HostStat(msgspec.Struct, frozen=True):
    """What the host says of a file or directory. Times in nanoseconds since 1970."""

    dev: int
    ino: int
    mode: int
    length: int
    mtime_ns: int
    atime_ns: int
    ctime_ns: int
    uid: int = 0
    gid: int = 0

    @property
    def inode(self) -> tuple[int, int]:
        return (self.dev, self.ino)

    @property
    def is_dir(self) -> bool:
        return stat.S_ISDIR(self.mode)

    @property
    def is_pipe(self) -> bool:
        return stat.S_ISFIFO(self.mode)


def is_shown(host_mode: int) -> bool:
    """True for what the namespace shows: directories, regular files, and FIFOs, if they are the server's own. The
    host's symbolic links, sockets and devices are neither listed nor followed."""
    return stat.S_ISDIR(host_mode) or stat.S_ISREG(host_mode) or stat.S_ISFIFO(host_mode)


def perm_of(host_mode: int) -> Perm:
    """Type and permission bits of an object on the host."""
    if stat.S_ISDIR(host_mode):
        return DMDIR | host_mode & PERM_MASK
    if stat.S_ISFIFO(host_mode):
        return DMNAMEDPIPE | host_mode & PERM_MASK
    if not host_mode & stat.S_ISVTX:
        return host_mode & PERM_MASK
    kind = DMSYMLINK | DMMOUNT if host_mode & stat.S_IXUSR else DMSYMLINK
    return kind | _LINK_PERM


def host_mode_of(name: str, perm: Perm) -> int:
    """The mode to make an object with. NotSupported for device files, Inval for kinds that there are not."""
    if perm & DMDEVICE:
        raise serr.NotSupported(name, "ux keeps no device files: put them into named")
    kind = perm & _KINDS
    if perm & ~(_KINDS | PERM_MASK) or (kind & _ALONE and kind not in (DMDIR, DMNAMEDPIPE)):
        raise serr.Inval(name, f"no such kind of file: perm {perm:#x}")
    if perm & DMMOUNT:
        return _LINK_MODE | stat.S_IXUSR
    if perm & DMSYMLINK:
        return _LINK_MODE
    return perm & PERM_MASK


def qid_path(inode: tuple[int, int], root_dev: int) -> int:
    """The qid path of an inode: its number, mixed with the device below mount points. Leaves the range above
    2^63, which the server's own entries use, alone."""
    dev, ino = inode
    if dev != root_dev:
        # Multiplied by 2**64 divided by the golden ratio, so that devices with small numbers differ in the high bits,
        # where inodes have none.
        ino ^= (dev + 1) * 0x9E37_79B9_7F4A_7C15
    return ino & ((1 << 63) - 1)


class InodeVersions:
    """Versions of objects, by inode. They grow with each change, in this process and over restarts: a version is
    the time of the last change in nanoseconds, moved on by one where the clock did not."""

    def __init__(self, kept_max: int = VERSIONS_KEPT_MAX) -> None:
        self._versions: OrderedDict[tuple[int, int], int] = OrderedDict()
        self._kept_max = kept_max

    def first(self, host: HostStat) -> int:
        """The version of an object that is looked at anew. The host's clock may have jumped back since we moved it."""
        return max(host.ctime_ns, self._versions.get(host.inode, 0))

    def moved(self, inode: tuple[int, int], version: int, now_ns: int) -> int:
        """The version after a change of an object that had ``version``."""
        version = max(version + 1, now_ns)
        self._versions[inode] = version
        self._versions.move_to_end(inode)
        if len(self._versions) > self._kept_max:
            self._versions.popitem(last=False)
        return version

"""Which files' contents the leader keeps in memory: those used last, up to a bound; the rest is read from etcd.

Contents of leased files always stay: etcd forgets them with their lease, and they are small. So do those of files that
were removed: only open fids see them, and they go with the last of these.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from kernel.named.etcd import Compacted
from kernel.named.state import Contents
from sigmaos_ray import serr

if TYPE_CHECKING:
    from kernel.named.etcd import Etcd
    from kernel.named.keys import Keys
    from kernel.named.state import Inode


class ContentsCache:
    """The contents of one leader's files."""

    def __init__(self, etcd: Etcd, keys: Keys, bytes_max: int) -> None:
        self._etcd = etcd
        self._keys = keys
        self._bytes_max = bytes_max
        self._kept: OrderedDict[int, tuple[Inode, int]] = OrderedDict()
        """By inode number, the one used last at the end; with the bytes that it was counted with."""
        self.size_bytes = 0
        self.fetched_count = 0

    def keep(self, inode: Inode) -> None:
        """Counts contents that came to memory, or changed there; what was not used for long makes room."""
        self.forget(inode)
        if inode.lease or inode.is_dir or inode.data is None:
            return
        self._kept[inode.ino] = (inode, len(inode.data))
        self.size_bytes += len(inode.data)
        while self.size_bytes > self._bytes_max:
            _, (oldest, size_bytes) = self._kept.popitem(last=False)
            self.size_bytes -= size_bytes
            oldest.data = None

    def used(self, inode: Inode) -> None:
        if inode.ino in self._kept:
            self._kept.move_to_end(inode.ino)

    def forget(self, inode: Inode) -> None:
        """Counts it no longer; what is in memory stays there with the object."""
        _, size_bytes = self._kept.pop(inode.ino, (None, 0))
        self.size_bytes -= size_bytes

    async def fetch(self, inode: Inode) -> bytes:
        """The contents that the object had when this was called, also if it is removed meanwhile. NotFound if it was
        removed so long ago that etcd has forgotten it, Unreachable if etcd does not answer."""
        version = inode.version  # before the await: the object may be changed while etcd answers
        data = await self._read(inode, version)
        self.fetched_count += 1
        if inode.version == version and inode.data is None:
            inode.data = data
            if inode.parent is not None:
                self.keep(inode)
        return data

    async def _read(self, inode: Inode, version: int) -> bytes:
        key = self._keys.inode(inode.ino, inode.lease)
        try:
            stored = await self._etcd.get(key, version)
        except Compacted:
            # An object that was not changed for long: its last contents are those.
            stored = await self._etcd.get(key)
        if stored is None:
            raise serr.NotFound(inode.name, "removed, and its contents are gone")
        contents = self._keys.decode(stored.key, stored.value)
        assert isinstance(contents, Contents)
        return contents.data

"""A candidate's copy of a realm's tables, pure: what etcd puts and deletes goes in, a tree comes out.

Objects and entries are kept apart until the tree is wanted: changes come in any number and in etcd's order, and only
at the end does each name have to have its object.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.named.state import Entry, InodeTree

if TYPE_CHECKING:
    from kernel.named.contents import ContentsCache
    from kernel.named.keys import Keys
    from kernel.named.state import Inode


class Replica:
    """The tables at one revision, or on the way from one to a later one. Putting or deleting twice does no harm."""

    def __init__(self, keys: Keys, contents: ContentsCache) -> None:
        self._keys = keys
        self._contents = contents
        self._tree = InodeTree()
        self._entries: dict[bytes, Entry] = {}

    @property
    def objects_count(self) -> int:
        return len(self._tree.inodes)

    def leases(self) -> set[int]:
        return {entry.lease for entry in self._entries.values() if entry.lease}

    def put(self, key: bytes, value: bytes, revision: int) -> None:
        """A key as it stands since ``revision``. Keys outside the tables are none of our business."""
        if not self._is_ours(key):
            return
        stored = self._keys.decode(key, value)
        if isinstance(stored, Entry):
            self._entries[key] = stored
        else:
            self._contents.keep(self._tree.load(stored, revision))

    def delete(self, key: bytes) -> None:
        if self._entries.pop(key, None) is not None:
            return  # its object goes by a key of its own
        ino = self._keys.parse_inode_key(key)
        inode = self._tree.inodes.pop(ino, None) if ino is not None else None
        if inode is not None:
            self._contents.forget(inode)

    def _is_ours(self, key: bytes) -> bool:
        return self._keys.parse_inode_key(key) is not None or self._keys.parse_entry_key(key) is not None

    def grow(self, revision: int) -> tuple[InodeTree, list[Inode]]:
        """The tree as it stands at ``revision``, and the objects that no entry names. The replica is used up."""
        tree, entries = self._tree, self._entries
        self._tree, self._entries = InodeTree(), {}
        strays = tree.link(entries.values(), revision)
        for stray in strays:
            self._contents.forget(stray)
        return tree, strays

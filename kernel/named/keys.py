"""Where things stand in etcd, and how they are encoded. Pure.

sigmaos/<realm>/i/<ino>             meta and contents of an object
sigmaos/<realm>/e/<dir ino>/<name>  an entry: the object's inode number
sigmaos/<realm>/t/i/...  t/e/...    the same for leased files; the keys hang on the lease, so etcd removes both
sigmaos/<realm>/election/<lease>    candidates and, the oldest, the leader
sigmaos/<realm>/f/<pathname>        the newest fence of a pathname
sigmaos/<realm>/txn                 the last transaction's own number
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import msgspec

from kernel.named.state import Contents, Entry, Meta
from sigmaos_ray import decoding, serr

if TYPE_CHECKING:
    from kernel.named.state import Plan

Ops: TypeAlias = dict[bytes, tuple[bytes | None, int]]
"""What to do with each key: the value to put (None: delete it), and the lease that it hangs on."""


class _Stored(msgspec.Struct, frozen=True, array_like=True):
    """An object as etcd has it."""

    perm: int
    mtime: float
    lease: int
    data: bytes
    next_number: int = 0


_encode = msgspec.msgpack.Encoder().encode
_decode_contents = decoding.msgpack_decoder(_Stored)
_decode_entry = decoding.msgpack_decoder(tuple[int, int])


class Keys:
    """The keys of one realm."""

    def __init__(self, realm: str) -> None:
        if not realm or "/" in realm:
            raise serr.Inval(realm, "not the name of a realm")
        self.root = f"sigmaos/{realm}/".encode()
        self.election = self.root + b"election/"
        self.txn = self.root + b"txn"
        self.leased = self.root + b"t/"
        self.fences = self.root + b"f/"

    def inode(self, ino: int, lease: int) -> bytes:
        return b"%s%si/%016x" % (self.root, b"t/" if lease else b"", ino)

    def entry(self, dir_ino: int, name: str, lease: int) -> bytes:
        return b"%s%se/%016x/%s" % (self.root, b"t/" if lease else b"", dir_ino, name.encode())

    def fence(self, pathname: str) -> bytes:
        return self.fences + pathname.encode()

    def parse_fence_key(self, key: bytes) -> str:
        """The pathname of a fence's key."""
        return key.removeprefix(self.fences).decode()

    def tables(self) -> list[bytes]:
        """The prefixes under which objects and entries stand."""
        return [self.root + table for table in (b"i/", b"t/i/", b"e/", b"t/e/")]

    def parse_entry_key(self, key: bytes) -> tuple[int, str] | None:
        """The directory and name of an entry's key; None for any other key."""
        rest = key.removeprefix(self.root).removeprefix(b"t/")
        if not rest.startswith(b"e/"):
            return None
        return int(rest[2:18], 16), rest[19:].decode()

    def parse_inode_key(self, key: bytes) -> int | None:
        """The number of an object's key; None for any other key."""
        rest = key.removeprefix(self.root).removeprefix(b"t/")
        return int(rest[2:], 16) if rest.startswith(b"i/") else None

    def decode(self, key: bytes, value: bytes) -> Contents | Entry:
        rest = key.removeprefix(self.root).removeprefix(b"t/")
        if rest.startswith(b"e/"):
            ino, lease = _decode_entry(value)
            return Entry(int(rest[2:18], 16), rest[19:].decode(), ino, lease)
        stored = _decode_contents(value)
        meta = Meta(stored.perm, stored.mtime, stored.next_number)
        return Contents(int(rest[2:], 16), meta, stored.data, stored.lease)

    def operations(self, plan: Plan) -> Ops:
        """What a plan changes in etcd. A rename that replaces deletes a key and puts it again: the put holds."""
        ops: Ops = {}
        for gone in plan.delete_entries:
            ops[self.entry(gone.dir_ino, gone.name, gone.lease)] = (None, 0)
        for ino, lease in plan.delete_contents:
            ops[self.inode(ino, lease)] = (None, 0)
        for contents in plan.put_contents:
            ops[self.inode(contents.ino, contents.lease)] = (_encode_contents(contents), contents.lease)
        for entry in plan.put_entries:
            ops[self.entry(entry.dir_ino, entry.name, entry.lease)] = (_encode((entry.ino, entry.lease)), entry.lease)
        return ops


def _encode_contents(contents: Contents) -> bytes:
    meta = contents.meta
    return _encode(_Stored(meta.perm, meta.mtime, contents.lease, contents.data, meta.next_number))

"""What happens to shards, as it is written to the journal.

Each change has its shard's count of changes, ``n``. A change that a shard has seen already is passed over: so a
snapshot that is taken while changes go on fits together with the log, though some changes are in both.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TypeAlias

import msgspec

Number: TypeAlias = tuple[int, int]
"""A move's: epoch and seqno of the configuration that planned it. Later moves have larger ones, whoever planned
them."""


class State(IntEnum):
    """Of a shard at one server. The numbers stand in journals."""

    ABSENT = 0
    READY = 1
    """The server answers for it."""
    FROZEN = 2
    """Its contents no longer change: they are being copied to another server."""


# The tags, and the order of the fields, stand in journals that outlive this version of the program: a class may be
# renamed, its tag may not, and a new field comes last, with a default.
class ShardChange(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """What all changes have."""

    shard: int
    n: int


# What was asked for, not what came of it: many small appends to one value would each write all of it.
class Wrote(ShardChange, frozen=True, array_like=True, tag="w"):
    """A write of a client; what it does, and how it fares, follows from the shard's contents."""

    client: int
    floor: int
    """The client is through with all writes of smaller seqnos."""
    seqno: int
    kind: int
    key: str
    value: bytes
    expected: bytes | None


class Staged(ShardChange, frozen=True, array_like=True, tag="s"):
    """A part of a shard that is on its way here."""

    number: Number
    digest: int
    """Of all parts: two dumps of one shard may be cut differently."""
    part: int
    data: bytes


class Installed(ShardChange, frozen=True, array_like=True, tag="i"):
    """All parts are here: the shard is served."""

    number: Number


class Froze(ShardChange, frozen=True, array_like=True, tag="f"):
    """The shard is about to leave: no more writes."""

    number: Number


class Dropped(ShardChange, frozen=True, array_like=True, tag="d"):
    """The shard is at another server now."""

    number: Number


class Image(ShardChange, frozen=True, array_like=True, tag="p"):
    """In a snapshot: a part of a shard's contents."""

    data: bytes


class Restored(ShardChange, frozen=True, array_like=True, tag="r"):
    """In a snapshot: the shard, whose contents came before as images."""

    number: Number
    state: int
    staged: list[bytes]
    staging: tuple[Number, int]


AnyChange: TypeAlias = Wrote | Staged | Installed | Froze | Dropped | Image | Restored


# Stands in journals, too: it is what ``Staged`` and ``Image`` hold.
class ShardPart(msgspec.Struct, frozen=True, array_like=True):
    """A part of a shard's contents, as it travels."""

    values: list[tuple[str, bytes]]
    clients: list[tuple[int, int, dict[int, int]]] = []
    """Id, floor, and how each write from the floor on fared: seqno to outcome."""

"""Bits and well-known names of the sigmap protocol.

Values of modes and permission bits are those of 9P2000 as SigmaOS extends it (rules P-4, P-5).
"""

from __future__ import annotations

from typing import Final, TypeAlias

Mode: TypeAlias = int
"""How a file is opened: one access mode, or-ed with flags."""

OREAD: Final[Mode] = 0x00
OWRITE: Final[Mode] = 0x01
ORDWR: Final[Mode] = 0x02
OEXEC: Final[Mode] = 0x03
OEXCL: Final[Mode] = 0x04
OTRUNC: Final[Mode] = 0x10
OCEXEC: Final[Mode] = 0x20
ORCLOSE: Final[Mode] = 0x40
OAPPEND: Final[Mode] = 0x80

OACCESS_MASK: Final[Mode] = 0x03

Perm: TypeAlias = int
"""Type bits in the top byte, rwx bits in the low nine."""

DMDIR: Final[Perm] = 0x80000000
DMAPPEND: Final[Perm] = 0x40000000
DMEXCL: Final[Perm] = 0x20000000
DMMOUNT: Final[Perm] = 0x10000000
DMAUTH: Final[Perm] = 0x08000000
DMTMP: Final[Perm] = 0x04000000
DMSYMLINK: Final[Perm] = 0x02000000
DMLINK: Final[Perm] = 0x01000000
DMDEVICE: Final[Perm] = 0x00800000
DMREPL: Final[Perm] = 0x00400000
DMNAMEDPIPE: Final[Perm] = 0x00200000
DMSOCKET: Final[Perm] = 0x00100000

PERM_MASK: Final[Perm] = 0o777

NO_OFFSET: Final[int] = (1 << 64) - 1
"""The offset of an append."""
NO_FID: Final[int] = (1 << 64) - 1
NO_LEASE: Final[int] = 0

# Device numbers (P-7), as they stand in Stat.dev.
DEV_MEMFS: Final = 1
DEV_RPC: Final = 2
DEV_STAT: Final = 3
DEV_PSTAT: Final = 4
DEV_FENCE: Final = 5
DEV_S3: Final = 6
DEV_UX: Final = 7
DEV_NAMED: Final = 8
DEV_WATCH: Final = 9

NAMED: Final = "name"
"""The first component of every pathname: the realm's root."""
ANY: Final = "~any"
LOCAL: Final = "~local"

BOOT: Final = "name/boot"
INSTANCE: Final = "name/boot/instance"
"""What the instance says of itself, as its state file does, for clients that cannot read that: in the root realm."""
DB: Final = "name/db"
KPIDS: Final = "name/kpids"
REALM: Final = "name/realm"
S3: Final = "name/s3"
SCHEDD: Final = "name/schedd"
UX: Final = "name/ux"

RPC_DEV: Final = "rpc"
STATSD: Final = ".statsd"
PSTATSD: Final = ".pstatsd"
FENCES: Final = ".fences"

ROOT_REALM: Final = "rootrealm"
NAMED_ELECTION_PREFIX: Final = "named-election-"

NAMED_ROOT_DIRS: Final = ("boot", "db", "kpids", "realm", "s3", "schedd", "ux")
"""What named creates at its first start (K-3), besides the election directory."""


def named_election(realm: str) -> str:
    """The name, in the root, of the directory that shows the leader of a realm's named."""
    return NAMED_ELECTION_PREFIX + realm

"""The values that sigmap speaks of: qids, stats, fences, endpoints. Immutable, without I/O."""

from __future__ import annotations

import enum
from typing import Final, Self

import msgspec

from sigmaos_ray.decoding import json_decoder
from sigmaos_ray.sigmap.constants import DMDIR, DMMOUNT, DMSYMLINK, PERM_MASK


class Qid(msgspec.Struct, frozen=True):
    """The identity of an object within its server (P-7).

    ``type`` is the top byte of the permissions, ``version`` moves with every change of a file's contents or of a
    directory's entries, ``path`` names the object and is not used again while it is in use.
    """

    type: int = 0
    version: int = 0
    path: int = 0

    @classmethod
    def of(cls, perm: int, version: int, path: int) -> Self:
        return cls((perm >> 24) & 0xFF, version, path)

    @property
    def is_dir(self) -> bool:
        return bool(self.type & (DMDIR >> 24))

    @property
    def is_symlink(self) -> bool:
        """True for symlinks and for endpoint files: a walk stops here, and the client reads on."""
        return bool(self.type & (DMSYMLINK >> 24))


class Stat(msgspec.Struct, frozen=True):
    """What a server tells about an object (P-13). Times are in seconds since 1970; 0 where a server keeps none."""

    name: str = ""
    qid: Qid = Qid()
    mode: int = 0
    length: int = 0
    mtime: float = 0.0
    atime: float = 0.0
    uid: str = ""
    gid: str = ""
    muid: str = ""
    dev: int = 0
    type: int = 0

    @property
    def is_dir(self) -> bool:
        return bool(self.mode & DMDIR)

    @property
    def is_symlink(self) -> bool:
        """A symlink proper: its contents are a pathname."""
        return bool(self.mode & DMSYMLINK) and not self.mode & DMMOUNT

    @property
    def is_endpoint(self) -> bool:
        """An endpoint file: its contents name a server."""
        return bool(self.mode & DMMOUNT)

    @property
    def perm(self) -> int:
        return self.mode & PERM_MASK


class Fence(msgspec.Struct, frozen=True):
    """A leadership's stamp on an operation (L-20). Compare with ``older_than``; no pathname means no fence."""

    pathname: str = ""
    epoch: int = 0
    seqno: int = 0

    def __bool__(self) -> bool:
        return bool(self.pathname)

    def _order(self) -> tuple[int, int]:
        return (self.epoch, self.seqno)

    def __lt__(self, other: Fence) -> bool:
        return self._order() < other._order()

    def __le__(self, other: Fence) -> bool:
        return self._order() <= other._order()

    def __gt__(self, other: Fence) -> bool:
        return self._order() > other._order()

    def __ge__(self, other: Fence) -> bool:
        return self._order() >= other._order()


NO_FENCE = Fence()
decode_fence: Final = json_decoder(Fence)
"""From JSON. Raises msgspec.DecodeError."""


ADDRS_MAX: Final = 16
"""Addresses of one endpoint: clients try one after the other."""


class Secret(msgspec.Struct, frozen=True):
    """What a client shows to a service so that it acts in the client's name (P-3). Never printed in full."""

    service: str
    """Sent to servers below ``name/<service>/`` only."""
    id: str
    key: str
    session_token: str = ""
    """Of credentials that end by themselves."""

    def __repr__(self) -> str:
        return f"Secret({self.service!r}, {self.id!r})"


class EndpointType(enum.StrEnum):
    INTERNAL = "internal"
    EXTERNAL = "external"


class Endpoint(msgspec.Struct, frozen=True):
    """Where a server answers: ``host:port`` addresses, best first, and the subtree of it that is meant (N-4)."""

    addrs: tuple[str, ...] = ()
    root: str = ""
    realm: str = ""
    type: EndpointType = EndpointType.INTERNAL
    plain: tuple[tuple[str, str], ...] = ()
    """Of some of the addresses: where the same server takes plain connections, as ``host:port``."""

    def to_bytes(self) -> bytes:
        """The contents of an endpoint file."""
        return msgspec.json.encode({"endpoint": self})

    @classmethod
    def from_bytes(cls, data: bytes) -> Endpoint | None:
        """The endpoint that an endpoint file's contents name; None if they are something else, a pathname say."""
        try:
            endpoint = _decode_endpoint_file(data).endpoint
            return endpoint if len(endpoint.addrs) <= ADDRS_MAX else None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None


class _EndpointFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    endpoint: Endpoint


_decode_endpoint_file: Final = json_decoder(_EndpointFile)

"""What etcd was asked for, by pathname (D-9): shown as ``.pstatsd``."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from kernel.named.state import Inode

PATHS_MAX: Final = 10_000
"""So many pathnames are counted; the one that was longest without a count is forgotten for a new one."""


class PathCounts(msgspec.Struct):
    """Of one pathname: reads of contents from etcd, and writes to it."""

    gets: int = 0
    puts: int = 0


class PathStats:
    """Counters of one leader."""

    def __init__(self, paths_max: int = PATHS_MAX) -> None:
        self._counts: OrderedDict[str, PathCounts] = OrderedDict()
        self._paths_max = paths_max

    def got(self, inode: Inode) -> None:
        self._of(inode).gets += 1

    def put(self, inode: Inode) -> None:
        self._of(inode).puts += 1

    def _of(self, inode: Inode) -> PathCounts:
        pathname = pathname_of(inode)
        counts = self._counts.get(pathname)
        if counts is None:
            counts = self._counts[pathname] = PathCounts()
            if len(self._counts) > self._paths_max:
                self._counts.popitem(last=False)
        self._counts.move_to_end(pathname)
        return counts

    def to_json(self) -> bytes:
        return msgspec.json.format(msgspec.json.encode(self._counts), indent=2) + b"\n"


def pathname_of(inode: Inode) -> str:
    """Where an object stands, from ``name`` on."""
    parts: list[str] = []
    here: Inode | None = inode
    while here is not None and here.parent is not None:
        parts.append(here.name)
        here = here.parent
    return "/".join(["name", *reversed(parts)])

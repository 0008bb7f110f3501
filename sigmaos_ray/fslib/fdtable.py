"""File descriptors: small numbers for open fids, the lowest free one first."""

from __future__ import annotations

import asyncio
import heapq
from typing import TYPE_CHECKING

from sigmaos_ray import serr
from sigmaos_ray.sigmap import DMNAMEDPIPE

if TYPE_CHECKING:
    from sigmaos_ray.fslib.fidclnt import RemoteFid
    from sigmaos_ray.sigmap import Mode


class OpenFd:
    """What a descriptor stands for."""

    __slots__ = ("fid", "mode", "moving", "offset", "pathname")

    def __init__(self, fid: RemoteFid, mode: Mode, pathname: str) -> None:
        self.fid = fid
        self.mode = mode
        self.pathname = pathname
        self.offset = 0
        self.moving = asyncio.Lock()
        """Held by what moves the offset: two reads at a time get two parts, not one part twice."""

    @property
    def is_pipe(self) -> bool:
        return bool(self.fid.perm & DMNAMEDPIPE)


class FdTable:
    """The descriptors of one client."""

    def __init__(self) -> None:
        self._open: dict[int, OpenFd] = {}
        self._free: list[int] = []

    def add(self, fd: OpenFd) -> int:
        # With none to use again, those that are open are all the numbers from 0 on, without a gap.
        number = heapq.heappop(self._free) if self._free else len(self._open)
        self._open[number] = fd
        return number

    def get(self, number: int) -> OpenFd:
        """NotFound for a number that is not open."""
        fd = self._open.get(number)
        if fd is None:
            raise serr.NotFound(f"fd {number}", "not open")
        return fd

    def take(self, number: int) -> OpenFd:
        fd = self.get(number)
        del self._open[number]
        heapq.heappush(self._free, number)
        return fd

    def __len__(self) -> int:
        return len(self._open)

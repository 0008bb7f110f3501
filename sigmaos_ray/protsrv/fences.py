"""Fences that a server has seen (L-21). Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sigmaos_ray import serr

if TYPE_CHECKING:
    from sigmaos_ray.sigmap import Fence


class FenceTable:
    """The newest fence per pathname. An older one is refused, a newer one remembered; no fence always passes."""

    def __init__(self) -> None:
        self._newest: dict[str, Fence] = {}

    def check(self, fence: Fence) -> None:
        """Raises Stale for a fence that is older than one seen before; remembers a newer one."""
        if not fence:
            return
        newest = self._newest.get(fence.pathname)
        if newest is not None and fence < newest:
            raise serr.Stale(fence.pathname, f"epoch {fence.epoch} is over, now {newest.epoch}")
        self._newest[fence.pathname] = fence

    def newest(self) -> list[Fence]:
        """All that are remembered, by pathname."""
        return [self._newest[pathname] for pathname in sorted(self._newest)]

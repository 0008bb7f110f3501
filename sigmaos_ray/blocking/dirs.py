"""Directories, blocking."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sigmaos_ray.blocking.face import Face

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator

    from sigmaos_ray.sigmap import Fence, Perm, Stat


class DirsFace(Face):
    """See ``fslib.dirs``."""

    def mkdir(self, pn: str, perm: Perm = 0o777) -> None:
        self.run(self._clnt.mkdir(pn, perm))

    def makedirs(self, pn: str, perm: Perm = 0o777) -> None:
        self.run(self._clnt.makedirs(pn, perm))

    def mkdir_path(self, directory: str, rel: str, perm: Perm = 0o777) -> None:
        self.run(self._clnt.mkdir_path(directory, rel, perm))

    def is_dir(self, pn: str) -> bool:
        return self.run(self._clnt.is_dir(pn))

    def get_dir(self, pn: str) -> list[Stat]:
        return self.run(self._clnt.get_dir(pn))

    def scan_dir(self, pn: str) -> Iterator[Stat]:
        pages = self._clnt.scan_dir_pages(pn)
        try:
            while page := self.run(_next_page(pages)):
                yield from page
        finally:
            self.run(pages.aclose())

    def process_dir(self, pn: str, visit: Callable[[Stat], bool]) -> bool:
        """``visit`` runs in the calling thread, and may use the client."""
        return any(visit(stat) for stat in self.get_dir(pn))

    def sprint_dir(self, pn: str) -> str:
        return self.run(self._clnt.sprint_dir(pn))

    def rmdir(self, pn: str) -> None:
        self.run(self._clnt.rmdir(pn))

    def rmdir_entries(self, pn: str) -> None:
        self.run(self._clnt.rmdir_entries(pn))

    def move_dir_entries(self, src: str, dst: str) -> int:
        return self.run(self._clnt.move_dir_entries(src, dst))

    def resolve_unions(self, pn: str) -> str:
        return self.run(self._clnt.resolve_unions(pn))

    def fence_dir(self, directory: str, fence: Fence) -> None:
        self.run(self._clnt.fence_dir(directory, fence))


async def _next_page(pages: AsyncGenerator[list[Stat], None]) -> list[Stat]:
    return await anext(pages, [])

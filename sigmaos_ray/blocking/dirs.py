"""Listings in threads: iterators, and a visitor that may block."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from sigmaos_ray.blocking.calls import FsCalls

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator, Iterator

    from sigmaos_ray.sigmap import Stat


class DirsFace(FsCalls):
    """See ``fslib.dirs``."""

    def scan_dir(self, pn: str) -> Iterator[Stat]:
        """The entries one by one, read page by page; those that are there all along come exactly once, in order."""
        with contextlib.closing(self.scan_dir_pages(pn)) as pages:
            for page in pages:
                yield from page

    def scan_dir_pages(self, pn: str) -> Generator[list[Stat], None, None]:
        """Like ``scan_dir``, a page at a time, as the server sends them."""
        pages = self._clnt.scan_dir_pages(pn)
        try:
            while page := self.run(_next_page(pages)):
                yield page
        finally:
            self.run(pages.aclose())

    def process_dir(self, pn: str, visit: Callable[[Stat], bool]) -> bool:
        """Hands ``visit`` each entry, in order of name, until it returns true; tells whether it did. It runs in the
        calling thread, and may use the client; its errors end the walk and are raised."""
        return any(visit(stat) for stat in self.get_dir(pn))


async def _next_page(pages: AsyncGenerator[list[Stat], None]) -> list[Stat]:
    return await anext(pages, [])

"""What the fixture ``library`` gives."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from sigmaos_ray.testing.corpus import Book


class Library(NamedTuple):
    """The books in S3, and the pathname of the directory that shows them in the namespace."""

    pathname: str
    books: list[Book]

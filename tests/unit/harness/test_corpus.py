"""The sample corpus: the same for everybody, and what it says of itself is so."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from sigmaos_ray.testing.corpus import BOOK_BYTES, TITLES, books, write_corpus

if TYPE_CHECKING:
    from pathlib import Path


def test_the_same_bytes_for_the_same_seed() -> None:
    once, again = list(books(2, book_bytes=20_000)), list(books(2, book_bytes=20_000))
    assert once == again
    assert list(books(2, book_bytes=20_000, seed=7)) != once
    # Everywhere, not only in this process: an own digest, since others compare counts with ours.
    assert hashlib.sha256(b"".join(book.text for book in once)).hexdigest()[:16] == "e85625622aeef0c7"


def test_counts_are_those_of_the_text() -> None:
    for book in books(3, book_bytes=30_000):
        tokens = book.text.decode().split()
        assert (len(tokens), tokens.count("the")) == (book.words, book.the)
        assert 0.03 < book.the / book.words < 0.08
        assert len(book.text) > 30_000


def test_eight_books_in_a_directory(tmp_path: Path) -> None:
    written = write_corpus(tmp_path / "books", book_bytes=2000)
    assert len(written) == len(TITLES) == 8
    assert {file.name: file.read_bytes() for file in (tmp_path / "books").iterdir()} == {
        book.file_name: book.text for book in written
    }
    assert 8 * BOOK_BYTES > 4_000_000


def test_more_books_than_titles_have_names_of_their_own() -> None:
    assert len({book.file_name for book in books(20, book_bytes=100)}) == 20

"""Exercise 2: an object in S3 is a file of the namespace."""

from __future__ import annotations

from counting import count

from sigmaos_ray.testing import Tstate, corpus

DIRECTORY = "name/s3/~any/tutorial-counting"


def test_counts(tstate_all: Tstate) -> None:
    sc = tstate_all.sc
    sc.makedirs(DIRECTORY)
    books = list(corpus.books(2, book_bytes=100_000))
    try:
        for book in books:
            sc.put_file(f"{DIRECTORY}/{book.file_name}", book.text)
            assert count(sc, f"{DIRECTORY}/{book.file_name}") == (book.words, book.the)
    finally:
        for entry in sc.get_dir(DIRECTORY):
            sc.remove(f"{DIRECTORY}/{entry.name}")

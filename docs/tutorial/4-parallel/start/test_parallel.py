"""Exercise 4: one proc per file, and the sum. Run it in this folder."""

from __future__ import annotations

from parallel import count_all

from sigmaos_ray.testing import Tstate, corpus

DIRECTORY = "name/ux/~local/tutorial-parallel"


def test_each_file_is_counted_by_a_proc(tstate_all: Tstate) -> None:
    sc = tstate_all.sc
    sc.makedirs(DIRECTORY)
    books = list(corpus.books(3, book_bytes=50_000))
    try:
        for book in books:
            sc.put_file(f"{DIRECTORY}/{book.file_name}", book.text)
        sc.put_file(f"{DIRECTORY}/no-text", b"\xff\xfe")
        counts = count_all(sc, sc.resolve_mounts(DIRECTORY))
        assert counts == {**{book.file_name: book.words for book in books}, "no-text": None}
    finally:
        sc.rmdir(DIRECTORY)

"""Exercise 2: an object in S3 is a file of the namespace.

``name/s3`` holds one entry per machine; ``~any`` is one of them. Below it come the bucket and the key.

    pytest --start tests/exercises -k S3
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from library import Library

    from sigmaos_ray.testing import Tstate


class TestExerciseS3:
    def test_list_the_books(self, tstate_all: Tstate, library: Library) -> None:
        entries = tstate_all.sc.get_dir(library.pathname)
        assert {entry.name: entry.length for entry in entries} == {
            book.file_name: len(book.text) for book in library.books
        }

    def test_count_the_in_a_book(self, tstate_all: Tstate, library: Library) -> None:
        book = library.books[0]
        the = 0
        # A reader fetches the file piece by piece, so that it may be larger than memory.
        with tstate_all.sc.open_reader(f"{library.pathname}/{book.file_name}") as reader:
            for line in reader:
                the += line.split().count(b"the")
        assert the == book.the

"""Exercise 4: one proc per file. Each counts in its own file; the parent adds up.

pytest --start tests/exercises -k Parallel
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sigmaos_ray import Proc

if TYPE_CHECKING:
    from library import Library

    from sigmaos_ray.testing import Tstate


class TestExerciseParallel:
    def test_count_in_all_files_at_once(self, tstate_all: Tstate, library: Library) -> None:
        sc = tstate_all.sc
        procs = {
            entry.name: Proc("example", [f"{library.pathname}/{entry.name}"]) for entry in sc.get_dir(library.pathname)
        }
        for proc in procs.values():
            sc.spawn(proc)
        counts = {}
        for name, proc in procs.items():
            status = sc.wait_exit(proc.pid)
            assert status.is_ok(), f"{name}: {status.msg}"
            assert isinstance(status.data, dict)
            counts[name] = (status.data["words"], status.data["the"])

        assert counts == {book.file_name: (book.words, book.the) for book in library.books}
        assert sum(the for _, the in counts.values()) == sum(book.the for book in library.books)

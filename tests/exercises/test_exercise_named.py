"""Exercise 1: files in ``named``, the root of the namespace.

pytest --start tests/exercises -k Named
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sigmaos_ray import serr
from sigmaos_ray.sigmap import OREAD, OWRITE

if TYPE_CHECKING:
    from sigmaos_ray import SigmaClnt

FILE = "name/tfile"
CONTENTS = b"hello from the first exercise"


class TestExerciseNamed:
    def test_the_root_has_the_names_of_the_services(self, sc: SigmaClnt) -> None:
        names = {entry.name for entry in sc.get_dir("name/")}
        assert names >= {"boot", "db", "kpids", "named-election-rootrealm", "realm", "rpc", "s3", "schedd", "ux"}

    def test_create_list_read_and_remove_a_file(self, sc: SigmaClnt) -> None:
        fd = sc.create(FILE, perm=0o777, mode=OWRITE)
        assert sc.write(fd, CONTENTS) == len(CONTENTS)
        sc.close_fd(fd)
        try:
            assert "tfile" in [entry.name for entry in sc.get_dir("name/")]
            assert sc.stat(FILE).length == len(CONTENTS)

            fd = sc.open(FILE, OREAD)
            assert sc.read(fd, 1024) == CONTENTS
            sc.close_fd(fd)

            # create makes a new file; it never opens one that exists.
            with pytest.raises(serr.Exists):
                sc.create(FILE, perm=0o777, mode=OWRITE)
        finally:
            sc.remove(FILE)  # or the next run of this test finds it
        with pytest.raises(FileNotFoundError):
            sc.open(FILE, OREAD)

    def test_a_whole_file_in_one_call(self, sc: SigmaClnt) -> None:
        sc.put_file(FILE, CONTENTS)
        try:
            assert sc.get_file(FILE) == CONTENTS
        finally:
            sc.remove(FILE)

"""Exercise 1: files in ``named``."""

from __future__ import annotations

import pytest
from notes import all_notes, keep

from sigmaos_ray import SigmaClnt

DIRECTORY = "name/tutorial-notes"


def test_notes(sc: SigmaClnt) -> None:
    keep(sc, DIRECTORY, "milk", "two bottles")
    keep(sc, DIRECTORY, "tea", "green")
    keep(sc, DIRECTORY, "milk", "one bottle")
    assert all_notes(sc, DIRECTORY) == {"milk": "one bottle", "tea": "green"}
    sc.rmdir(DIRECTORY)
    with pytest.raises(FileNotFoundError):
        sc.get_file(f"{DIRECTORY}/tea")

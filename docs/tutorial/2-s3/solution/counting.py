"""Counting the words of a file."""

from __future__ import annotations

from sigmaos_ray import SigmaClnt


def count(sc: SigmaClnt, pathname: str) -> tuple[int, int]:
    """How many words the file has, and how many of them are ``the``. Of any size: read it piece by piece."""
    words, the = 0, 0
    with sc.open_reader(pathname) as reader:
        for line in reader:
            found = line.split()
            words += len(found)
            the += found.count(b"the")
    return words, the

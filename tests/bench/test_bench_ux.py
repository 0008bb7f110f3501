"""Large files and large directories through ux, beside the same by Python's own calls on the host.

Goals: a stream through ux reads at 0.8 of a plain read's rate (of files that the system has in memory, that is its
memory's), and writes at least a third as fast as a plain copy; a directory of 100,000 entries is listed in at most 3 s.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from measure import compare

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sigmaos_ray.testing import Tstate

DIR: Final = "name/ux/~local/bench"
MIB: Final = 1 << 20
FILE_MIB: Final = 256
ENTRIES: Final = 100_000


@pytest.fixture(scope="module")
def host(instance: Tstate) -> Iterator[Path]:
    """The directory behind DIR."""
    instance.sc.mkdir(DIR)
    place = Path(instance.instance.state_dir) / "ux" / "bench"
    yield place
    instance.sc.rmdir(DIR)


def test_a_streamed_read(instance: Tstate, host: Path) -> None:
    (host / "file").write_bytes(os.urandom(MIB) * FILE_MIB)

    def ours(mib: int) -> None:
        left = mib
        while left > 0:
            with instance.sc.open_reader(f"{DIR}/file") as reader:
                while part := reader.read(MIB):
                    left -= len(part) // MIB

    def plain(mib: int) -> None:
        left = mib
        while left > 0:
            with (host / "file").open("rb", buffering=0) as file:
                while part := file.read(MIB):
                    left -= len(part) // MIB

    compare("MiB read", ("ux", ours), ("open().read()", plain), times=2 * FILE_MIB, rounds=5, goal=0.8, rates=True)


def test_a_streamed_write(instance: Tstate, host: Path) -> None:
    data = os.urandom(MIB)

    def ours(mib: int) -> None:
        with instance.sc.create_writer(f"{DIR}/written") as writer:
            for _ in range(mib):
                writer.write(data)

    def plain(mib: int) -> None:
        with (host / "copied").open("wb", buffering=0) as file:
            for _ in range(mib):
                file.write(data)

    peer = ("open().write()", plain)
    compare("MiB written", ("ux", ours), peer, times=FILE_MIB, rounds=5, goal=0.33, rates=True)


def test_a_directory_of_100_000_entries(instance: Tstate, host: Path) -> None:
    (host / "many").mkdir()
    for number in range(ENTRIES):
        os.close(os.open(host / "many" / f"{number:06}", os.O_CREAT | os.O_WRONLY))

    def ours(times: int) -> None:
        for _ in range(times):
            assert len(instance.sc.get_dir(f"{DIR}/many")) == ENTRIES

    def plain(times: int) -> None:
        for _ in range(times):
            with os.scandir(host / "many") as entries:
                assert len(sorted((entry.name, entry.stat()) for entry in entries)) == ENTRIES

    compare(f"listing {ENTRIES:,}", ("ux", ours), ("os.scandir", plain), times=1, rounds=3, warm_up=0)

"""Processes of procs, forked from templates as a lease does it; without Ray."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
from leases import Lease

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def lease(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lease]:
    """One for the tests of a module: each of their procs has a process of its own anyhow."""
    lease = Lease(tmp_path_factory.mktemp("logs"), path=list(sys.path))
    yield lease
    lease.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a test's programs are."""
    folder = tmp_path / "programs"
    folder.mkdir()
    return folder


@pytest.fixture
def own_lease(tmp_path: Path, folder: Path) -> Iterator[Callable[..., Lease]]:
    """Makes a lease whose procs find modules in ``folder``, too."""
    made: list[Lease] = []

    def make(**environment: str) -> Lease:
        made.append(Lease(tmp_path / "logs", environment, [str(folder), *sys.path]))
        return made[-1]

    yield make
    for lease in made:
        lease.close()

"""Instances of these tests live in boxes of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from bootbox import Box

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def box() -> Iterator[Box]:
    """A box in which nothing runs yet."""
    with Box() as box:
        yield box


@pytest.fixture(scope="module")
def started() -> Iterator[tuple[Box, str]]:
    """A box with a whole instance, shared by the tests of a module, and what its start printed."""
    with Box() as box:
        yield box, box.ok("start", "--num-cpus", "2")


@pytest.fixture
def running(started: tuple[Box, str]) -> Box:
    return started[0]

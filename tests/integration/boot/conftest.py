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
def running() -> Iterator[Box]:
    """A box with a whole instance, shared by the tests of a module."""
    with Box() as box:
        box.ok("start", "--num-cpus", "2")
        yield box

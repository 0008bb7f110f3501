"""Nodes over a directory of the host."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from uxtree import UxTree, open_tree

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[UxTree]:
    descriptors = len(os.listdir("/proc/self/fd"))
    served = open_tree(tmp_path / "ux")
    yield served
    served.store.close()
    del served
    assert len(os.listdir("/proc/self/fd")) == descriptors, "descriptors leak"
    remains = [entry.name for entry in (tmp_path / "ux" / ".sigmaos-ux").iterdir()]
    assert remains in ([], ["fences"]), "prepared files, marks or a journal are left"

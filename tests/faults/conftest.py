"""Nameds without Ray."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest_asyncio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from etcd_child import EtcdChild
    from nameds import Nameds

sys.path.append(str(Path(__file__).parent))


@pytest_asyncio.fixture
async def nameds(etcd: EtcdChild, tmp_path: Path) -> AsyncIterator[Nameds]:
    """Two: one leads, one stands by."""
    from nameds import Nameds

    async with Nameds(etcd.endpoint, tmp_path) as made:
        yield made

"""A realm per test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest_asyncio
from harness import Realm

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from etcd_child import EtcdChild


@pytest_asyncio.fixture
async def realm(etcd: EtcdChild) -> AsyncIterator[Realm]:
    async with Realm(etcd) as made:
        yield made

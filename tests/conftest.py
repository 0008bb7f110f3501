"""What the rings share: a real etcd, started once per test session. Tests keep apart by realms of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from etcd_child import EtcdChild

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def etcd() -> Iterator[EtcdChild]:
    with EtcdChild() as child:
        yield child

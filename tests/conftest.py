"""What the rings share: a real etcd and an emulated S3, each started once per test session. Tests keep apart by realms
and buckets of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest
from etcd_child import EtcdChild
from hypothesis import settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from motoserver import Emulator

# Speed is measured in benchmarks: on a busy machine any example may take long once, which says nothing about it.
settings.register_profile("without a clock", deadline=None)
settings.load_profile("without a clock")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files whose tests share a Ray, an instance or hosts come last: what the session has once lives until its end, and
    takes of the processors meanwhile."""
    late: dict[Path, int] = {}
    for item in items:
        late[item.path] = max(late.get(item.path, 0), _turn(item))
    items.sort(key=lambda item: late[item.path])


_TURNS: Final = {"ray_address": 1, "tstate_path": 2, "tstate_all": 2, "shared_cluster": 3}
"""Fixtures of whole sessions with many processes, the largest last."""


def _turn(item: pytest.Item) -> int:
    return max((_TURNS.get(name, 0) for name in getattr(item, "fixturenames", ())), default=0)


@pytest.fixture(scope="session")
def s3_emulator() -> Iterator[Emulator]:
    from motoserver import serve_s3  # moto takes a second to import, and most tests do without

    with serve_s3() as emulator:
        yield emulator


@pytest.fixture(scope="session")
def etcd() -> Iterator[EtcdChild]:
    with EtcdChild() as child:
        yield child

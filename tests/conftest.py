"""What the rings share: a real etcd and an emulated S3, each started once per test session. Tests keep apart by realms
and buckets of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from etcd_child import EtcdChild
from hypothesis import settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from motoserver import Emulator

# Speed is measured in benchmarks: on a busy machine any example may take long once, which says nothing about it.
settings.register_profile("without a clock", deadline=None)
settings.load_profile("without a clock")


@pytest.fixture(scope="session")
def s3_emulator() -> Iterator[Emulator]:
    from motoserver import serve_s3  # moto takes a second to import, and most tests do without

    with serve_s3() as emulator:
        yield emulator


@pytest.fixture(scope="session")
def etcd() -> Iterator[EtcdChild]:
    with EtcdChild() as child:
        yield child

"""Servers of this process, as an instance would have them; the mount is a process of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fssite import Site

if TYPE_CHECKING:
    from collections.abc import Iterator

    from etcd_child import EtcdChild
    from motoserver import Emulator


@pytest.fixture(scope="session")
def bucket(s3_emulator: Emulator) -> str:
    return s3_emulator.new_bucket()


@pytest.fixture(scope="session")
def site(etcd: EtcdChild, s3_emulator: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Site(tmp_path_factory.mktemp("site"), etcd.endpoint, s3_emulator.url) as running:
        yield running

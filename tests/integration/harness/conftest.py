"""The harness is tested with a boot that serves memory."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
from fakeboot import FakeBoot

import kernel

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def boot(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeBoot]:
    fake = FakeBoot()
    monkeypatch.setitem(sys.modules, "kernel.boot", fake)
    monkeypatch.setattr(kernel, "boot", fake, raising=False)
    yield fake
    fake.end_children()

"""Leases are extended all, or the caller hears of it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from kernel.named.etcd import Etcd
from sigmaos_ray import serr

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


def _etcd_that_answers(count: int, monkeypatch: pytest.MonkeyPatch) -> Etcd:
    """It ends the stream in good order after so many answers."""

    async def keep_alive(requests: Any, timeout: float) -> AsyncIterator[object]:
        for _ in range(count):
            yield object()

    async def connected() -> tuple[Any, str]:
        return SimpleNamespace(leasestub=SimpleNamespace(LeaseKeepAlive=keep_alive)), "127.0.0.1:1"

    etcd = Etcd(["127.0.0.1:1"], timeout_s=1.0)
    monkeypatch.setattr(etcd, "_connected", connected)
    return etcd


async def test_all_are_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    await _etcd_that_answers(2, monkeypatch).extend_all([1, 2])


async def test_an_etcd_that_ends_in_the_middle_extended_not_all(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(serr.Unreachable, match="1 of 2"):
        await _etcd_that_answers(1, monkeypatch).extend_all([1, 2])

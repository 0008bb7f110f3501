"""Arguments and results in parts: put together whatever their order, bounded, and never twice."""

from __future__ import annotations

import random

import pytest

from sigmaos_ray import serr
from sigmaos_ray.config import Rpc
from sigmaos_ray.protsrv.payloads import HeldBytes, Payloads

LIMITS = Rpc(part_bytes=10, payload_bytes_max=100, payloads_bytes_max=150)


@pytest.fixture
def held() -> HeldBytes:
    return HeldBytes(LIMITS)


@pytest.fixture
def payloads(held: HeldBytes) -> Payloads:
    return Payloads(held)


def test_parts_in_any_order(payloads: Payloads, held: HeldBytes) -> None:
    data = bytes(range(95))
    offsets = list(range(0, 95, 10))
    random.Random(7).shuffle(offsets)
    for offset in offsets[:-1]:
        payloads.send(1, offset, 95, data[offset : offset + 10])
    with pytest.raises(serr.Inval, match="not complete"):
        payloads.argument(1)
    payloads.send(1, offsets[-1], 95, data[offsets[-1] : offsets[-1] + 10])
    assert payloads.argument(1) == data
    assert held.size_bytes == 0
    with pytest.raises(serr.Inval):
        payloads.argument(1)


@pytest.mark.parametrize(
    ("offset", "size", "part"),
    [(5, 20, b"x" * 10), (0, 20, b""), (15, 20, b"x" * 10), (10, 30, b"x"), (0, 20, b"x" * 12)],
    ids=["overlaps", "empty", "beyond", "other size", "overlaps all"],
)
def test_parts_that_cannot_be(payloads: Payloads, offset: int, size: int, part: bytes) -> None:
    payloads.send(1, 0, 20, b"0123456789")
    with pytest.raises(serr.Inval):
        payloads.send(1, offset, size, part)
    payloads.send(1, 10, 20, b"0123456789")
    assert payloads.argument(1) == b"0123456789" * 2


def test_a_result_stays_until_it_is_dropped(payloads: Payloads, held: HeldBytes) -> None:
    number = payloads.keep(b"0123456789ab")
    assert payloads.take(number, 0, 10) + payloads.take(number, 10, 2) == b"0123456789ab"
    for offset, size in ((10, 3), (0, 11), (0, 0), (99, 1)):
        with pytest.raises(serr.Inval):
            payloads.take(number, offset, size)
    assert held.results_count == 1
    payloads.drop_result(number)
    payloads.drop_result(number)
    assert (held.results_count, held.size_bytes) == (0, 0)
    with pytest.raises(serr.Inval):
        payloads.take(number, 0, 1)


def test_what_a_server_holds_is_bounded(held: HeldBytes) -> None:
    first, second = Payloads(held), Payloads(held)
    with pytest.raises(serr.Inval, match="at most 100"):
        first.keep(bytes(101))
    first.keep(bytes(100))
    with pytest.raises(serr.Retry):
        second.send(1, 0, 60, b"x")
    first.send(1, 0, 50, b"x")
    first.close()
    assert (held.results_count, held.size_bytes) == (0, 0)
    second.send(1, 0, 60, b"x")

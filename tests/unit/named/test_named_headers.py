"""Headers of gRPC's calls, as a client without a table of them writes and reads them."""

from __future__ import annotations

from typing import Final

import pytest

from kernel.named.headers import BadHeaders, CallStatus, request_headers, status_of

STATUS_0: Final = bytes.fromhex("40889acac8b21234da8f013040899acac8b5254207317f00")
"""``grpc-status: 0`` and an empty ``grpc-message``, as etcd sends them."""


def test_headers_of_a_call_that_worked() -> None:
    assert status_of(STATUS_0) == CallStatus(0, "")
    # A server that was told to keep no table says so first.
    assert status_of(b"\x20" + STATUS_0) == CallStatus(0, "")


def test_headers_of_an_end_without_a_status_of_grpc() -> None:
    assert status_of(b"\x8d") == CallStatus(2, "no gRPC status, HTTP status 404")


@pytest.mark.parametrize(
    "block",
    [
        STATUS_0[:5],
        STATUS_0[:-13],
        b"\xbe",  # the first header of a table
        b"\x00\x81\x00\x00",  # a character that is not filled up with ones
        b"\x00\x84\xff\xff\xff\xff\x00",  # one that is none
    ],
)
def test_headers_that_are_none(block: bytes) -> None:
    with pytest.raises(BadHeaders):
        status_of(block)


def test_headers_of_a_call_are_as_the_standard_has_them() -> None:
    block = request_headers("h:1", "/p", 3.0)
    assert block == (
        b"\x83\x86\x04\x02/p\x01\x03h:1\x00\x02te\x08trailers\x00\x0ccontent-type\x10application/grpc"
        b"\x00\x0cgrpc-timeout\x053000m"
    )
    # A length of 127 and more takes several bytes.
    assert request_headers("h", "/" + "p" * 199, 1.0)[2:5] == b"\x04\x7f\x49"

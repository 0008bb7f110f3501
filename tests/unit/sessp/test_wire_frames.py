"""Messages that are put together by hand are what protobuf would make of them."""

from __future__ import annotations

import pytest

from sigmaos_ray.pb import sigmap_pb2 as pb
from sigmaos_ray.pb.sessp_pb2 import Frames, Reply, Request
from sigmaos_ray.sessp import wire

SIZES = [0, 1, 100, 127, 128, 300, 20_000, 3 << 20]


@pytest.mark.parametrize("acks", [[], [1], [127, 128], [1 << 14, (1 << 64) - 1], list(range(1000))])
@pytest.mark.parametrize("size", SIZES)
def test_a_request_with_acknowledgements(size: int, acks: list[int]) -> None:
    request = Request(seqno=1 << 40, write=pb.Twrite(data=bytes(size)))
    frames = Frames.FromString(wire.request_frame(request, acks))
    assert frames == Frames(requests=[request], acks=acks)


@pytest.mark.parametrize("size", SIZES)
def test_replies(size: int) -> None:
    replies = [Reply(seqno=number, read=pb.Rread(data=bytes(size))) for number in (1, 300)]
    assert Frames.FromString(b"".join(map(wire.reply_frame, replies))) == Frames(replies=replies)

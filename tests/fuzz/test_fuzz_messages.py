"""Bytes that are no message, or nearly one, and messages out of order: the server ends the session or answers, others
go on, and nothing is left behind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import hostile
import profiles
import pytest
from hypothesis import given, settings

from sigmaos_ray import serr
from sigmaos_ray.pb import sigmap_pb2 as pb
from sigmaos_ray.pb.sessp_pb2 import Frames, Request
from sigmaos_ray.sessp import wire
from sigmaos_ray.sigmap import OWRITE

if TYPE_CHECKING:
    from lab import Lab
    from rawsession import RawSession

EXAMPLES_COUNT = 20
"""Over each kind of connection, beside a server in memory; less beside others, by their pace."""
PEN = "pen"
"""A directory of the attackers' own: from a fid of it the canary's file is out of reach."""


def attack(lab: Lab, profile: settings) -> None:
    @settings(profile)
    @given(hostile.garbage)
    def with_garbage(data: bytes) -> None:
        lab.run(_attack(lab, data))

    @settings(profile)
    @given(hostile.frames)
    def with_frames(frames: Frames) -> None:
        lab.run(_attack(lab, frames.SerializeToString()))

    with_garbage()
    with_frames()


async def _attack(lab: Lab, data: bytes) -> None:
    await _make_pen(lab)
    async with lab.session() as session:
        await session.attach(0, f"{lab.aname}/{PEN}")
        await session.send_bytes(data)
        await _look_alive(session)
        if not session.is_over:
            await session.bye()
    await lab.check_alive()
    await lab.check_clean()


async def _make_pen(lab: Lab) -> None:
    """An earlier attacker may have removed it."""
    try:
        await lab.canary.mkdir(f"{lab.root}/{PEN}")
    except serr.Exists:
        return


async def _look_alive(session: RawSession) -> None:
    """The session is over, or goes on. Its next number is one that no attack has used."""
    await session.send(Frames(requests=[Request(seqno=50_000, stat=pb.Tstat(fid=0))]))
    assert await session.until(lambda: session.is_over or 50_000 in session.replies) or session.is_over


def test_bytes_and_messages_in_any_order(each_kind: Lab) -> None:
    attack(each_kind, profiles.quick(each_kind.examples_count(EXAMPLES_COUNT)))


@pytest.mark.soak
def test_bytes_and_messages_in_any_order_for_long(each_kind: Lab) -> None:
    attack(each_kind, profiles.soak())


def test_a_lease_that_no_store_can_name(lab: Lab) -> None:
    """etcd's leases are signed: a larger number cannot be sent to it, and must not cost named its leadership."""
    largest = (1 << 64) - 1

    async def ask() -> None:
        async with lab.attached() as session:
            for request in (
                Request(putfile=pb.Tputfile(fid=0, names=["f"], mode=OWRITE, perm=0o777, lease=largest)),
                Request(create=pb.Tcreate(fid=0, name="f", mode=OWRITE, perm=0o777, lease=largest)),
            ):
                error = wire.error_from_pb((await session.call(request)).error)
                assert isinstance(error, serr.NotFound)
                assert "no lease has a number over" in str(error)
            await session.bye()
        await lab.canary.put_file(f"{lab.root}/canary", b"sings")
        await lab.check_alive()

    lab.run(ask())

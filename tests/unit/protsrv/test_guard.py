"""A server that loses its role while it works on a request (S-7): what it read is old news by then."""

from __future__ import annotations

from collections.abc import Coroutine

import pytest

from sigmaos_ray import config, serr
from sigmaos_ray.memfs import MemFs
from sigmaos_ray.pb import sigmap_pb2 as pb
from sigmaos_ray.pb.sessp_pb2 import Reply, Request
from sigmaos_ray.protsrv.session import ProtSession
from sigmaos_ray.protsrv.stats import ServerStats
from sigmaos_ray.protsrv.watch import WatchTable
from sigmaos_ray.sigmap import OREAD, OTRUNC, OWRITE


class Role:
    """Asked before and after: ends after so many more questions."""

    def __init__(self) -> None:
        self.questions_left = 1_000

    def __call__(self) -> None:
        if not self.questions_left:
            raise serr.NotLeading("srv")
        self.questions_left -= 1


async def ask(session: ProtSession, request: Request) -> Reply:
    begun = session.handle(request)
    outcome = await begun if isinstance(begun, Coroutine) else begun
    assert isinstance(outcome, Reply), "its data are few"
    return outcome


@pytest.fixture
async def session() -> ProtSession:
    """With a file ``f``, open as fid 2."""
    watches = WatchTable()
    role = Role()
    session = ProtSession(1, MemFs(watches).root, watches, ServerStats(), config.LOCAL, role, "rootrealm")
    session.role = role  # type: ignore[attr-defined]
    await ask(session, Request(attach=pb.Tattach(fid=1, client_id=1, realm="rootrealm")))
    await ask(session, PUT)
    await ask(session, Request(walk=pb.Twalk(fid=1, newfid=2, names=["f"])))
    await ask(session, Request(open=pb.Topen(fid=2, mode=OREAD)))
    return session


PUT = Request(putfile=pb.Tputfile(fid=1, mode=OWRITE | OTRUNC, perm=0o777, names=["f"], data=b"x"))
LOOKS = {
    "stat": Request(stat=pb.Tstat(fid=1, names=["f"])),
    "getfile": Request(getfile=pb.Tgetfile(fid=1, mode=OREAD, count=10, names=["f"])),
    "read": Request(read=pb.Tread(fid=2, count=10)),
    "walk": Request(walk=pb.Twalk(fid=1, newfid=3, names=["f"])),
    "stat of nothing": Request(stat=pb.Tstat(fid=1, names=["absent"])),
}


@pytest.mark.parametrize("what", LOOKS)
@pytest.mark.parametrize("questions", [0, 1])
async def test_nothing_that_was_read_goes_out(session: ProtSession, what: str, questions: int) -> None:
    """Lost before the request, or while it ran: NotLeading, also instead of an error that tells of the tree."""
    session.role.questions_left = questions  # type: ignore[attr-defined]
    with pytest.raises(serr.NotLeading):
        await ask(session, LOOKS[what])


async def test_a_change_that_was_made_is_told(session: ProtSession) -> None:
    """Closed would say that it was not made."""
    session.role.questions_left = 1  # type: ignore[attr-defined]
    assert (await ask(session, PUT)).write.count == 1
    with pytest.raises(serr.Closed):
        await ask(session, PUT)

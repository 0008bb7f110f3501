"""Text that is no UTF-8 in what procs say and in what is asked of them: escaped, or refused; nothing dies of it."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import pytest

from sigmaos_ray import Proc, SigmaClnt, Status, serr
from sigmaos_ray.pb.proc_pb2 import EmptyReply, LoadRequest
from sigmaos_ray.rpcclnt import RPCClnt

if TYPE_CHECKING:
    from collections.abc import Callable

WAIT_S = 30.0
BAD = os.fsdecode(b"bad\xff")


def raises(argv: list[str]) -> None:
    raise ValueError(BAD)


def exits(argv: list[str]) -> None:
    sys.exit(BAD)


def returns(argv: list[str]) -> object:
    return {BAD: [BAD]}


def reports(argv: list[str]) -> None:
    with SigmaClnt() as sc:
        sc.clnt_exit(Status.err(BAD, BAD))


def says(argv: list[str]) -> None:
    print(BAD, file=sys.stderr)
    raise serr.NotFound(BAD, BAD)


@pytest.mark.parametrize(
    ("program", "status"),
    [
        (raises, Status.err("ValueError: bad\\udcff")),
        (exits, Status.crash("exit status 1: bad\\udcff")),
        (returns, Status.info("", {"bad\\udcff": ["bad\\udcff"]})),
        (reports, Status.err("bad\\udcff", "bad\\udcff")),
        (says, Status.err("sigmaos_ray.serr.NotFound: file not found: bad\\udcff (bad\\udcff)")),
    ],
)
def test_a_status_tells_it_escaped(sc: SigmaClnt, program: Callable[[list[str]], Any], status: Status) -> None:
    proc = Proc(program)
    sc.spawn(proc)
    assert sc.wait_exit(proc.pid, WAIT_S) == status


@pytest.mark.parametrize(
    "ask",
    [
        lambda sc: sc.wait_exit(BAD),
        lambda sc: sc.wait_exit(BAD, 0),
        lambda sc: sc.wait_start(BAD),
        lambda sc: sc.evict(BAD),
        lambda sc: list(sc.as_completed([BAD])),
        lambda sc: sc.wait_exit_chan(BAD).result(WAIT_S),
        lambda sc: RPCClnt(sc, "name/schedd/~local").rpc(f"Schedd.{BAD}", LoadRequest(), EmptyReply),
        lambda sc: RPCClnt(sc, f"name/schedd/{BAD}").rpc("Schedd.Load", LoadRequest(), EmptyReply),
    ],
)
def test_requests_refuse_it(sc: SigmaClnt, ask: Callable[[SigmaClnt], object]) -> None:
    with pytest.raises(serr.Inval, match=r"bad\\udcff"):
        ask(sc)


def test_a_proc_that_was_changed_after_it_was_made(sc: SigmaClnt) -> None:
    proc, good = Proc("programs.nop"), Proc("programs.nop")
    proc.args.append(BAD)
    with pytest.raises(serr.Inval):
        sc.spawn(proc)
    failed, errors = sc.spawn_burst([good, proc])
    assert (failed, [type(error) for error in errors]) == ([proc], [serr.Inval])
    assert sc.wait_exit(good.pid, WAIT_S).is_ok()

"""The commands about procs: what belongs to the program, and how its end becomes an exit code."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from sigmaos_ray.cli import context
from sigmaos_ray.proc import ProcInfo, Status

if TYPE_CHECKING:
    from collections.abc import Callable

    from fakeclnt import FakeClnt
    from outcome import Outcome


def test_spawn_prints_the_pid(sigmaos: Callable[..., Outcome], clnt: FakeClnt) -> None:
    outcome = sigmaos("spawn", "example")
    assert clnt.spawned is not None
    assert outcome == (0, f"{clnt.spawned.pid}\n", "")


def test_what_follows_the_program_is_the_programs(sigmaos: Callable[..., Outcome], clnt: FakeClnt) -> None:
    assert sigmaos("spawn", "--mcpu", "500", "--env", "A=b=c", "example", "--wait", "-x", "--", "y").code == 0
    assert clnt.spawned is not None
    assert list(clnt.spawned.args) == ["--wait", "-x", "--", "y"]
    assert clnt.spawned.mcpu == 500
    assert clnt.spawned.env == {"A": "b=c"}
    assert clnt.calls == []


@pytest.mark.parametrize(
    ("status", "code"), [(Status.ok(), 0), (Status.info("done"), 0), (Status.err("broken"), 1), (Status.evicted(), 1)]
)
def test_the_exit_code_tells_ok_from_not(
    sigmaos: Callable[..., Outcome], clnt: FakeClnt, status: Status, code: int
) -> None:
    clnt.status = status
    outcome = sigmaos("spawn", "--wait", "--pid", "p-1", "example")
    assert (outcome.code, outcome.out, outcome.err) == (code, f"p-1\n{status}\n", "")


def test_wait_looks_without_collecting(sigmaos: Callable[..., Outcome], clnt: FakeClnt) -> None:
    clnt.status = Status.info("done", {"n": 3})
    report = json.loads(sigmaos("wait", "--json", "--timeout-s", "2", "p-1").out)
    assert report["status"] == {"code": "OK", "msg": "done", "data": {"n": 3}, "crash": False}
    assert clnt.calls == [("wait_exit", "p-1", 2.0, True)]


def test_evict(sigmaos: Callable[..., Outcome], clnt: FakeClnt) -> None:
    assert sigmaos("evict", "p-1").code == 0
    assert sigmaos("evict", "--grace-s", "0.5", "p-2").code == 0
    assert clnt.calls == [("evict", "p-1", None), ("evict", "p-2", 0.5)]


def test_ps(sigmaos: Callable[..., Outcome], clnt: FakeClnt) -> None:
    assert sigmaos("ps", "--json") == (0, "[]\n", "")
    clnt.infos = [
        ProcInfo(pid="b", program="example", state="running", spawned_s=2.0),
        ProcInfo(pid="a", program="example", state="ended", spawned_s=1.0, ended_s=1.5, status=Status.err("broken")),
    ]
    rows = sigmaos("ps").out.splitlines()
    assert [row.split()[0] for row in rows] == ["PID", "a", "b"]
    assert "broken" in rows[1]
    assert "0.5 s" in rows[1]
    assert [info["pid"] for info in json.loads(sigmaos("ps", "--json").out)] == ["a", "b"]


def test_ps_again_and_again(sigmaos: Callable[..., Outcome], clnt: FakeClnt, monkeypatch: pytest.MonkeyPatch) -> None:
    clnt.infos = [ProcInfo(pid="first", program="example", state="running", spawned_s=1.0)]
    looks = iter(["second", "third"])

    def pause(seconds: float) -> None:
        assert seconds == 0.5
        try:
            clnt.infos = [ProcInfo(pid=next(looks), program="example", state="running", spawned_s=1.0)]
        except StopIteration:
            raise KeyboardInterrupt from None

    monkeypatch.setattr(context.time, "sleep", pause)
    outcome = sigmaos("ps", "--watch", "--interval-s", "0.5")
    assert outcome.code == 130
    assert [row.split()[0] for row in outcome.out.split("\n") if row] == [
        "PID",
        "first",
        "PID",
        "second",
        "PID",
        "third",
    ]
    assert sigmaos("ps", "--watch", "--json").code == 2
    assert sigmaos("ps", "--watch", "--interval-s", "0").code == 2


def test_top(sigmaos: Callable[..., Outcome], clnt: FakeClnt) -> None:
    counts = {"queued": 3, "starting": 1, "running": 2, "exited": 0, "spawned": 9, "ended": {"crash": 1, "ok": 2}}
    report = counts | {"reserved_mcpu": 1500.0, "reserved_mem_mb": 300.0, "node_cores": 2.0, "node_mem_mb": 8000}
    clnt.files = {"name/schedd": None, "name/schedd/n1": b"", "name/schedd/gone": b""}
    clnt.reports = {"name/schedd/n1": {"procs": report}}
    header, row = sigmaos("top").out.splitlines()
    assert header.startswith("KERNEL NODE  QUEUED  RUNNING  CORES RESERVED  MB RESERVED")
    assert " ".join(row.split()) == "n1 3 3 1.5 of 2 300 of 8000 9 1 crash, 2 ok"
    assert json.loads(sigmaos("top", "--json").out) == {"n1": report}

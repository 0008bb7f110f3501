"""Tenants: names, services and procs of their own (K-10 to K-13, N-16)."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from typing import TYPE_CHECKING

import msgspec
import psutil
import pytest
from command import Sigmaos

from sigmaos_ray import Proc, SigmaClnt, serr
from sigmaos_ray.auth.files import token_for
from sigmaos_ray.dbclnt import DbClnt
from sigmaos_ray.realmclnt import RealmClnt
from sigmaos_ray.testing.tstate import clnt_env

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sigmaos_ray.sigmap import Endpoint
    from sigmaos_ray.testing import Tstate

FLOOD_COUNT = 300
COUNTED = 50
"""The shares are compared once one realm had so many procs done."""
LOOK_AGAIN_S = 0.2
"""Each look lists all procs, and must not take the cores from them."""


@pytest.fixture(scope="module")
def ts(tstate_all: Tstate) -> Tstate:
    return tstate_all


@pytest.fixture(scope="module")
def realms(ts: Tstate) -> Iterator[RealmClnt]:
    realms = RealmClnt(ts.sc)
    realms.make("red")
    realms.make("blue")
    yield realms
    for name in realms.list():
        realms.remove(name, remove_state=True)


@pytest.fixture
def red(ts: Tstate, realms: RealmClnt) -> Iterator[SigmaClnt]:
    with ts.realm("red") as sc:
        yield sc


@pytest.fixture
def blue(ts: Tstate, realms: RealmClnt) -> Iterator[SigmaClnt]:
    with ts.realm("blue") as sc:
        yield sc


def ran(sc: SigmaClnt, program: Callable[[list[str]], object]) -> object:
    """What a proc of the realm returned."""
    status = sc.wait_exit(sc.spawn(Proc(program)), 30)
    assert status.is_ok(), status
    return status.data


def prints(argv: list[str]) -> None:
    with SigmaClnt() as sc:
        print(f"printed by {sc.realm}")


def test_one_pathname_is_another_file_in_each_realm(ts: Tstate, red: SigmaClnt, blue: SigmaClnt) -> None:
    for directory in ("name", "name/ux/~any"):
        red.put_file(f"{directory}/same", b"red")
        blue.put_file(f"{directory}/same", b"blue")
        assert red.get_file(f"{directory}/same") == b"red"
        assert blue.get_file(f"{directory}/same") == b"blue"
        with pytest.raises(serr.NotFound):
            ts.sc.stat(f"{directory}/same")


@pytest.mark.parametrize("service", ["ux", "s3", "schedd"])
def test_another_realms_server_refuses_the_attach(red: SigmaClnt, blue: SigmaClnt, service: str) -> None:
    kernel = blue.get_dir(f"name/{service}")[0].name
    theirs = blue.read_endpoint(f"name/{service}/{kernel}")
    red.mk_endpoint_file(f"name/stolen-{service}", theirs)
    with pytest.raises(serr.Perm, match="another realm"):
        red.get_dir(f"name/stolen-{service}/")
    red.remove(f"name/stolen-{service}")


def test_a_tenant_reads_its_own_logs_and_no_others(ts: Tstate, red: SigmaClnt, blue: SigmaClnt) -> None:
    proc = Proc(prints)
    assert red.wait_exit(red.spawn(proc), 30).is_ok()
    kernel = red.get_dir("name/schedd")[0].name
    own = f"name/schedd/{kernel}/logs"
    assert b"printed by red" in red.get_file(f"{own}/procs/{proc.pid}.log")
    assert "boot.log" not in [entry.name for entry in red.get_dir(own)]
    assert "boot.log" in [entry.name for entry in ts.sc.get_dir(own)]
    assert "perf" not in [entry.name for entry in red.get_dir(f"name/schedd/{kernel}/")]
    for sc in (blue, ts.sc):
        with pytest.raises(serr.NotFound):
            sc.stat(f"{own}/procs/{proc.pid}.log")


def test_another_realms_named_refuses_the_attach(ts: Tstate, realms: RealmClnt) -> None:
    env = clnt_env(ts.instance, realm="red")
    token = token_for("red", ts.instance.state_dir)
    wrong = msgspec.structs.replace(env, named=ts.instance.realms["blue"].named, state_file="", token=token)
    with SigmaClnt(wrong) as sc, pytest.raises(serr.Perm, match="another realm"):
        sc.get_dir("name/")


def test_no_process_runs_procs_of_two_realms(red: SigmaClnt, blue: SigmaClnt) -> None:
    def main(argv: list[str]) -> list[str]:
        import os

        import sigmaos_ray

        before = [os.environ.get("LEFT_BEHIND", ""), str("leftbehind" in sys.modules), os.getcwd()]
        os.environ["LEFT_BEHIND"] = "yes"
        sys.modules["leftbehind"] = sys
        os.chdir("/")
        with sigmaos_ray.SigmaClnt() as sc:  # modules stay for later procs of the realm, and only for them
            return [str(os.getpid()), sc.realm, os.environ["SIGMAOS_REALM"], *before]

    first = [ran(red, main) for _ in range(4)]
    second = [ran(blue, main) for _ in range(4)]
    assert all(isinstance(each, list) for each in first + second)
    assert {each[0] for each in first}.isdisjoint(each[0] for each in second)  # type: ignore[index]
    assert {tuple(each[1:3]) for each in first} == {("red", "red")}  # type: ignore[index]
    assert {tuple(each[1:4]) for each in second} == {("blue", "blue", "")}  # type: ignore[index]
    assert second[0][4] == "False"  # type: ignore[index]
    assert all(each[5] != "/" for each in second)  # type: ignore[index]


def nap(argv: list[str]) -> None:
    import time

    time.sleep(float(argv[-1]))


def test_realms_with_much_to_do_get_about_the_same(red: SigmaClnt, blue: SigmaClnt) -> None:
    """Over seconds: Ray leaves a worker with whom has it for half a second. Counted once both have workers."""
    floods = [(sc, [sc.spawn(Proc(nap, ["0.2"])) for _ in range(FLOOD_COUNT)]) for sc in (red, blue)]
    # On a busy machine the second realm's first worker takes seconds, in which the first realm has all slots.
    while max(_left_count(sc) for sc, _ in floods) > FLOOD_COUNT - 4:
        time.sleep(LOOK_AGAIN_S)
    before = {sc: _left_count(sc) for sc, _ in floods}
    assert min(before.values()) > COUNTED
    while max(before[sc] - _left_count(sc) for sc in before) < COUNTED:
        time.sleep(LOOK_AGAIN_S)
    done = sorted(count - _left_count(sc) for sc, count in before.items())
    assert done[0] > done[1] // 2, done
    for sc, pids in floods:
        for pid in pids:
            sc.evict(pid, grace_s=0)  # what still waits ends at once
        for pid in pids:
            status = sc.wait_exit(pid, 60)
            assert status.is_ok() or status.is_evicted(), status


def _left_count(sc: SigmaClnt) -> int:
    """Procs that have not ended."""
    return sum(info.state != "exited" for info in sc.procs())


def test_a_crashed_named_of_a_realm_is_replaced(ts: Tstate, red: SigmaClnt) -> None:
    red.put_file("name/kept", b"still here")
    before = ts.instance.realms["red"].named
    os.kill(_named_pid(ts, before), signal.SIGKILL)
    assert red.get_file("name/kept") == b"still here"
    assert ts.instance.realms["red"].named != before


def _named_pid(ts: Tstate, endpoint: Endpoint) -> int:
    port = int(endpoint.addrs[0].rpartition(":")[2])
    listening = (connection for connection in psutil.net_connections("tcp") if connection.status == psutil.CONN_LISTEN)
    return next(
        connection.pid
        for connection in listening
        if connection.laddr and connection.laddr.port == port and connection.pid
    )


def test_a_realm_that_is_removed_leaves_nothing(ts: Tstate, realms: RealmClnt) -> None:
    def stay(argv: list[str]) -> None:
        import os
        import time

        import sigmaos_ray

        with sigmaos_ray.SigmaClnt() as sc:
            sc.put_file("name/worker", str(os.getpid()).encode())
            sc.started()
            time.sleep(1000)

    realms.make("green")
    assert realms.list()["green"] == "up"
    with pytest.raises(serr.Exists):
        realms.make("green")
    with ts.realm("green") as sc, DbClnt(sc) as db:
        sc.put_file("name/ux/~any/kept", b"1")
        db.execute("CREATE TABLE kept (number INTEGER)")
        sc.wait_start(sc.spawn(Proc(stay)), 30)
        worker = psutil.Process(int(sc.get_file("name/worker")))
    assert {file.name for file in _files_of(ts, "green")} >= {"ux-green", "green.sqlite"}
    realms.remove("green", remove_state=True)
    assert not worker.is_running()
    assert "green" not in realms.list()
    assert not _files_of(ts, "green")
    with pytest.raises(serr.NotFound):
        ts.realm("green")


def _files_of(ts: Tstate, realm: str) -> list[Path]:
    return [*ts.state_dir.glob(f"ux-{realm}"), *ts.state_dir.glob(f"db/{realm}.*")]


def test_bad_calls_are_refused(realms: RealmClnt, red: SigmaClnt) -> None:
    for bad in ("", "rootrealm", "Up", "a/b", "x" * 33, ".."):
        with pytest.raises(serr.Inval):
            realms.make(bad)
    with pytest.raises(serr.NotFound):
        realms.remove("nobody")
    with pytest.raises(serr.Perm):
        RealmClnt(red).make("other")


def test_the_command_works_in_a_realm(ts: Tstate, red: SigmaClnt, capsys: pytest.CaptureFixture[str]) -> None:
    sigmaos = Sigmaos(ts.state_dir, capsys)
    red.put_file("name/told", b"red")
    assert sigmaos("--realm", "red", "cat", "name/told").stdout == "red"
    pid = red.spawn(Proc(lambda argv: print("red says so")))
    assert red.wait_exit(pid).is_ok()
    assert "red says so" in sigmaos("--realm", "red", "logs", pid).stdout
    assert sigmaos("logs", pid).returncode == 1
    assert "schedd-" in sigmaos("--realm", "red", "logs").stdout
    unknown = sigmaos("--realm", "nobody", "ls", "name/")
    assert unknown.returncode == 1
    assert "nobody" in unknown.stderr
    assert len(unknown.stderr.splitlines()) == 1
    again = sigmaos("realm", "create", "red")
    assert again.returncode == 1
    assert {"name": "red", "state": "up"} in json.loads(sigmaos("realm", "ls", "--json").stdout)


def test_from_outside_a_tenant_is_found_through_the_roots_named(
    ts: Tstate,
    realms: RealmClnt,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """N-6: without the state file. SIGMAOS_NAMED is the root realm's, whatever realm is asked for."""
    with ts.realm("red") as red:
        red.put_file("name/ux/outside", b"red's")
    monkeypatch.setenv("SIGMAOS_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("SIGMAOS_NAMED", ",".join(ts.instance.named.addrs))
    monkeypatch.setenv("SIGMAOS_TOKEN", token_for(ts.instance.realm, ts.instance.state_dir))
    monkeypatch.setenv("SIGMAOS_REALM", "red")
    elsewhere = Sigmaos(tmp_path, capsys)
    assert "outside" in elsewhere("ls", "name/ux").stdout.split()
    assert "red" in json.loads(elsewhere("status", "--json").stdout)["realms"]
    with SigmaClnt() as sc:
        assert sc.get_file("name/ux/outside") == b"red's"
        assert sc.get_named_endpoint().addrs[0] == ts.instance.realms["red"].named.addrs[0]
        sc.remove("name/ux/outside")
    monkeypatch.setenv("SIGMAOS_REALM", "green")
    with SigmaClnt() as sc, pytest.raises(serr.Perm):
        sc.get_dir("name/")
    assert "green: a client of another realm" in elsewhere("ls", "name/").stderr

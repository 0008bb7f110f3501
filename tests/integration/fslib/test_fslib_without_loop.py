"""A proc's client begins without a loop: the calls of a short proc are messages on one Unix socket. What needs a loop
takes the session there, where it is the same one."""

from __future__ import annotations

import os
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NoReturn

import msgspec
import pytest
from fslib_servers import ServerThread

from sigmaos_ray import SigmaClnt, config, loopthread, serr
from sigmaos_ray.config import LOCAL, ProcEnv
from sigmaos_ray.procclnt import lease
from sigmaos_ray.sessp.plaindoor import _PlainConnection
from sigmaos_ray.sigmaclnt import close_all, rehearsal
from sigmaos_ray.sigmap import OREAD, OWRITE, Endpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sigmaos_ray.config import Config

WITHIN_S = 20.0


@pytest.fixture(autouse=True)
def _in_a_proc() -> Iterator[None]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        lease.install(lease.ProcLease("p", ours))
        yield
        lease.install(None)


@pytest.fixture
def server() -> Iterator[ServerThread]:
    with ServerThread() as running:
        yield running


@pytest.fixture
def no_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> NoReturn:
        pytest.fail("a loop thread")

    monkeypatch.setattr(loopthread, "shared", refuse)


def clnt_of(server: ServerThread) -> SigmaClnt:
    return SigmaClnt(ProcEnv(pid="test", named=server.endpoint))


def connections(server: ServerThread) -> dict[str, int]:
    counts: dict[str, int] = server.server.stats.sections["connections"]().get("plain", {})
    return {role: count for role, count in counts.items() if role != "unbound"}


def until(holds: Callable[[], bool]) -> None:
    ends_s = time.monotonic() + WITHIN_S
    while not holds():
        assert time.monotonic() < ends_s, "the state was not reached"
        time.sleep(0.005)


@pytest.mark.usefixtures("no_loop")
def test_files_without_a_loop_from_the_first_call_to_the_close(server: ServerThread) -> None:
    threads_count = threading.active_count()
    with clnt_of(server) as sc:
        sc.put_file("name/f", b"one")
        assert sc.get_file("name/f") == b"one"
        with pytest.raises(serr.NotFound, match="name/absent"):
            sc.get_file("name/absent")
        fd = sc.open("name/f", OREAD)
        assert sc.read(fd, 10) == b"one"
        sc.close_fd(fd)
        assert connections(server) == {"main": 1}
    until(lambda: connections(server) == {})
    assert threading.active_count() == threads_count


@pytest.mark.usefixtures("no_loop")
def test_what_is_open_is_closed_when_the_close_returns(server: ServerThread) -> None:
    with clnt_of(server) as sc:
        sc.create("name/f", 0o777, OWRITE)
    assert connections(server) == {}


def test_what_needs_the_loop_takes_the_session_there(server: ServerThread) -> None:
    with clnt_of(server) as sc:
        sc.put_file("name/f", b"one two")
        fd = sc.open("name/f", OREAD)
        assert sc.read(fd, 3) == b"one"
        assert "f" in [stat.name for stat in sc.get_dir("name/")]
        assert sc.read(fd, 10) == b" two", "it is the same session"
        assert connections(server)["main"] == 1
    until(lambda: connections(server) == {})


def test_threads_that_begin_at_the_same_time_have_one_session(server: ServerThread) -> None:
    barrier = threading.Barrier(8)

    def read(number: int) -> bytes:
        barrier.wait()
        sc.put_file(f"name/f{number}", b"%d" % number)
        return sc.get_file(f"name/f{number}")

    with clnt_of(server) as sc, ThreadPoolExecutor(8) as threads:
        assert list(threads.map(read, range(8))) == [b"%d" % number for number in range(8)]
        assert connections(server)["main"] == 1
    until(lambda: connections(server) == {})


def test_some_threads_begin_on_the_loop_others_without(server: ServerThread) -> None:
    barrier = threading.Barrier(6)

    def call(number: int) -> None:
        barrier.wait()
        if number % 2:
            sc.get_dir("name/")
        else:
            sc.put_file(f"name/f{number}", b"x")

    with clnt_of(server) as sc, ThreadPoolExecutor(6) as threads:
        list(threads.map(call, range(6)))
        assert connections(server)["main"] == 1
        assert {"f0", "f2", "f4"} <= {stat.name for stat in sc.get_dir("name/")}
    until(lambda: connections(server) == {})


def test_a_client_that_is_silent_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody pings for it, and nobody need."""
    looks_count = 0
    look = _PlainConnection._look

    def counted(connection: _PlainConnection) -> None:
        nonlocal looks_count
        looks_count += 1
        look(connection)

    monkeypatch.setattr(_PlainConnection, "_look", counted)
    lively: Config = msgspec.structs.replace(
        LOCAL, session=msgspec.structs.replace(LOCAL.session, keepalive_s=0.02, keepalive_timeout_s=0.02)
    )
    with ServerThread(lively) as server, clnt_of(server) as sc:
        sc.put_file("name/f", b"one")
        fd = sc.open("name/f", OREAD)
        seen_count = looks_count
        until(lambda: looks_count > seen_count + 3)
        assert connections(server) == {"main": 1}
        assert sc.read(fd, 10) == b"one"


def test_a_server_that_went_meanwhile_is_noticed_before_anything_is_sent(
    server: ServerThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unreachable, which says that it did not run: not the IOErr of a fate that nobody knows."""
    be_impatient(monkeypatch)
    sc = clnt_of(server)
    sc.put_file("name/f", b"one")
    server.stop_serving()
    with pytest.raises(serr.Unreachable):
        sc.put_file("name/f", b"two")
    sc.close()


def be_impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    impatient = msgspec.structs.replace(LOCAL, walk=msgspec.structs.replace(LOCAL.walk, patience_s=0.1))
    monkeypatch.setitem(config.PRESETS, "local", impatient)
    monkeypatch.setenv("SIGMAOS_CONFIG", "local")


def test_a_server_that_takes_no_more_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its refusal comes together with the answer to the first request, which did not run."""
    full: Config = msgspec.structs.replace(LOCAL, session=msgspec.structs.replace(LOCAL.session, sessions_max=1))
    be_impatient(monkeypatch)
    with ServerThread(full) as server, clnt_of(server) as second:
        with clnt_of(server) as first:
            first.put_file("name/f", b"one")
            with pytest.raises(serr.Unreachable):
                second.put_file("name/f", b"two")
            assert first.get_file("name/f") == b"one"
        until(lambda: connections(server) == {})
        second.put_file("name/f", b"two")
        assert second.get_file("name/f") == b"two"


def test_a_forked_child_leaves_its_parents_session_alone(server: ServerThread) -> None:
    sc = clnt_of(server)
    sc.put_file("name/f", b"parent")
    child = os.fork()
    if child == 0:
        _as_a_child(sc, server.endpoint)
    assert os.waitpid(child, 0)[1] == 0
    assert sc.get_file("name/f") == b"child"
    assert connections(server)["main"] == 1
    sc.close()
    until(lambda: connections(server) == {})


def _as_a_child(sc: SigmaClnt, named: Endpoint) -> NoReturn:
    try:
        with pytest.raises(serr.Unreachable, match="fork"):
            sc.get_file("name/f")
        sc.close()
        with SigmaClnt(ProcEnv(pid="child", named=named)) as new:
            new.put_file("name/f", b"child")
        close_all()
        os._exit(0)
    finally:
        os._exit(3)


@pytest.mark.usefixtures("no_loop")
def test_a_rehearsal_goes_through_a_read_without_a_server() -> None:
    lease.install(None)
    for _ in range(2):
        rehearsal.rehearse()

"""Who is let into an instance, tried from outside: over both kinds of connection, at each of its servers."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

import msgspec
import pytest

from sigmaos_ray import Proc, SigmaClnt, serr
from sigmaos_ray.auth import files
from sigmaos_ray.config import ProcEnv
from sigmaos_ray.instance import find_proc_env
from sigmaos_ray.pb import proc_pb2 as pb
from sigmaos_ray.realmclnt import RealmClnt
from sigmaos_ray.rpcclnt import RPCClnt
from sigmaos_ray.sigmap import ROOT_REALM, SCHEDD, Endpoint
from sigmaos_ray.sigmasrv import SigmaSrv

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sigmaos_ray.testing import Tstate

SERVICES = ("db", "s3", "schedd", "ux")


@pytest.fixture(params=["plain", "grpc"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Of connections that clients make."""
    monkeypatch.setenv("SIGMAOS_TRANSPORT", request.param)
    return str(request.param)


@pytest.fixture
def tenant(tstate_all: Tstate) -> Iterator[str]:
    name = f"doors-{time.monotonic_ns() % 10**9}"
    RealmClnt(tstate_all.sc).make(name)
    yield name
    with contextlib.suppress(serr.NotFound):
        RealmClnt(tstate_all.sc).remove(name, remove_state=True)


def token_of(tstate: Tstate, realm: str) -> str:
    return files.read(files.file_of(tstate.instance.state_dir, realm)).token


def env(tstate: Tstate, token: str, realm: str = ROOT_REALM, pid: str = "stranger") -> ProcEnv:
    """Of somebody on this machine who is not told where credentials are."""
    named = tstate.instance.named_of(realm) or Endpoint()
    return ProcEnv(pid=pid, realm=realm, token=token, named=named, state_dir="/nowhere")


def refused(who: ProcEnv) -> str:
    with SigmaClnt(who) as sc, pytest.raises(serr.Perm) as error:
        sc.get_dir("name/")
    return str(error.value)


def endpoints(tstate: Tstate) -> dict[str, Endpoint]:
    """Of each service of the first kernel node."""
    services = tstate.instance.kernel_nodes[0].services
    return {name: Endpoint(addrs=(f"{services[name].host}:{services[name].port}",)) for name in SERVICES}


def test_who_shows_nothing_or_nonsense_is_refused(tstate_all: Tstate, kind: str) -> None:
    for token in ("nonsense", "a.b", "x" * 10_000):
        assert "malformed" in refused(env(tstate_all, token))
    assert "none were shown" in refused(env(tstate_all, ""))


def test_each_service_has_its_gate(tstate_all: Tstate, kind: str) -> None:
    for service, endpoint in endpoints(tstate_all).items():
        who = msgspec.structs.replace(env(tstate_all, "nonsense"), named=endpoint)
        with SigmaClnt(who) as sc, pytest.raises(serr.Perm):
            sc.get_dir("name/")
        who = msgspec.structs.replace(who, token=token_of(tstate_all, ROOT_REALM))
        with SigmaClnt(who) as sc:
            assert sc.get_dir("name/"), service


def test_another_realms_credentials_lead_nowhere_else(tstate_all: Tstate, tenant: str, kind: str) -> None:
    shown = token_of(tstate_all, tenant)
    assert f"of {tenant}" in refused(env(tstate_all, shown))
    with SigmaClnt(env(tstate_all, shown, tenant)) as sc:
        assert sc.get_dir("name/")
    # Nor to servers whose address is known.
    for endpoint in endpoints(tstate_all).values():
        refused(msgspec.structs.replace(env(tstate_all, shown), named=endpoint))
        refused(msgspec.structs.replace(env(tstate_all, shown, tenant), named=endpoint))
    # The root's leads everywhere.
    with SigmaClnt(env(tstate_all, token_of(tstate_all, ROOT_REALM), tenant)) as sc:
        assert sc.get_dir("name/")


def test_rotated_credentials_are_refused_and_their_sessions_end(tstate_all: Tstate, tenant: str, kind: str) -> None:
    old = token_of(tstate_all, tenant)
    with SigmaClnt(env(tstate_all, old, tenant)) as sc:
        sc.put_file("name/kept", b"x")
        RealmClnt(tstate_all.sc).rotate(tenant)
        with pytest.raises((serr.Perm, *serr.SESSION_ERRORS)):
            sc.get_file("name/kept")
        with pytest.raises(serr.Perm, match="revoked"):
            sc.get_file("name/kept")
    assert "revoked" in refused(env(tstate_all, old, tenant))
    with SigmaClnt(env(tstate_all, token_of(tstate_all, tenant), tenant)) as sc:
        assert sc.get_file("name/kept") == b"x"


def shows_its_token(argv: list[str]) -> str:
    with SigmaClnt() as sc:
        sc.get_dir("name/")
        if argv:
            sc.put_file(argv[0], find_proc_env().token.encode())
            sc.started()
            sc.wait_evict()
    return find_proc_env().token


def test_a_procs_credentials_end_with_it(tstate_all: Tstate, kind: str) -> None:
    sc = tstate_all.sc
    proc = Proc(shows_its_token)
    sc.spawn(proc)
    token = str(sc.wait_exit(proc.pid).data)
    assert "has ended" in refused(env(tstate_all, token, pid=proc.pid))


def test_a_proc_is_nobody_else(tstate_all: Tstate, kind: str) -> None:
    sc = tstate_all.sc
    procs = [Proc(shows_its_token, [f"name/shown-{number}"]) for number in range(2)]
    for proc in procs:
        sc.spawn(proc)
    for proc in procs:
        sc.wait_start(proc.pid)
    token = sc.get_file("name/shown-0").decode()
    assert "the credentials are those of" in refused(env(tstate_all, token, pid=procs[1].pid))
    # As itself it may look, and say nothing of its parent's other child.
    with SigmaClnt(env(tstate_all, token, pid=procs[0].pid)) as stolen:
        assert stolen.get_dir("name/")
        schedd = RPCClnt(stolen, f"{SCHEDD}/{sc.get_dir(SCHEDD)[0].name}")
        other = procs[1].pid
        for method, request in (
            ("Exited", pb.ExitedRequest(pid=other)),
            ("Started", pb.PidRequest(pid=other)),
            ("Spawn", pb.SpawnRequest(proc=pb.ProcSpec(pid="child", program="example", parent_pid=other))),
            ("Collect", pb.CollectRequest(pids=["child"], caller_pid=other)),
        ):
            with pytest.raises(serr.Perm):
                schedd.rpc(f"Schedd.{method}", request, pb.EmptyReply)
        with pytest.raises(serr.Perm):
            schedd.rpc("WorkerLeases.Next", pb.LeaseNextRequest(lease="x"), pb.LeaseNextReply)
    for number, proc in enumerate(procs):
        sc.evict(proc.pid)
        assert sc.wait_exit(proc.pid).is_ok()
        sc.remove(f"name/shown-{number}")


def test_a_server_of_ones_own_has_the_same_gate(tstate_all: Tstate, tenant: str, kind: str) -> None:
    with SigmaSrv("name/doors", sc=SigmaClnt(env_of_instance(tstate_all, tenant))) as srv:
        inside = msgspec.structs.replace(env(tstate_all, token_of(tstate_all, tenant), tenant), named=srv.endpoint)
        assert "none were shown" in refused(msgspec.structs.replace(inside, token=""))
        with SigmaClnt(inside) as sc:
            assert sc.get_dir("name/")
        RealmClnt(tstate_all.sc).rotate(tenant)

        ends_s = time.monotonic() + 30
        while not is_refused(inside):
            assert time.monotonic() < ends_s, "it is let in still"
            time.sleep(0.1)
        srv.sc.close()


def is_refused(who: ProcEnv) -> bool:
    try:
        with SigmaClnt(who) as sc:
            sc.get_dir("name/")
    except serr.Perm:
        return True
    return False


def env_of_instance(tstate: Tstate, realm: str) -> ProcEnv:
    # With the root's, which outlives the rotation of the tenant's.
    who = env(tstate, token_of(tstate, ROOT_REALM), realm)
    return msgspec.structs.replace(who, trust=tstate.instance.trust, state_dir=tstate.instance.state_dir)

"""What a tenant is granted, and its limits: each has an error of its own, and others notice nothing."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING

import pytest

from sigmaos_ray import Proc, serr
from sigmaos_ray.realmclnt import RealmClnt, RealmTerms
from sigmaos_ray.sigmaclnt import SigmaClnt
from sigmaos_ray.testing.tstate import clnt_env

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sigmaos_ray.testing import Tstate

NAME = "termed"


def long(argv: list[str]) -> None:
    with SigmaClnt() as sc:
        sc.started()
    time.sleep(600)


def short(argv: list[str]) -> None:
    pass


@pytest.fixture(scope="module")
def realms(tstate_all: Tstate) -> Iterator[RealmClnt]:
    clnt = RealmClnt(tstate_all.sc)
    clnt.make(NAME)
    yield clnt
    clnt.remove(NAME, remove_state=True)


@pytest.fixture
def tenant(tstate_all: Tstate, realms: RealmClnt) -> Iterator[SigmaClnt]:
    with SigmaClnt(clnt_env(tstate_all.instance, realm=NAME)) as sc:
        yield sc
    realms.agree(NAME, RealmTerms())


def test_buckets_are_granted_and_taken_away(tstate_all: Tstate, realms: RealmClnt, tenant: SigmaClnt) -> None:
    name = f"granted-{secrets.token_hex(4)}"
    tstate_all.sc.mkdir(f"name/s3/~any/{name}")
    tstate_all.sc.put_file(f"name/s3/~any/{name}/f", b"x")
    place = f"name/s3/~any/{name}"
    for call in (
        lambda: tenant.get_file(f"{place}/f"),
        lambda: tenant.put_file(f"{place}/g", b"x"),
        lambda: tenant.get_dir(place),
        lambda: tenant.remove(f"{place}/f"),
        lambda: tenant.mkdir(f"name/s3/~any/{name}-2"),
    ):
        with pytest.raises(serr.Perm, match="not granted"):
            call()
    assert buckets(tenant) == []
    realms.agree(NAME, RealmTerms(buckets=(name,)))
    assert realms.terms(NAME).buckets == (name,)
    assert tenant.get_file(f"{place}/f") == b"x"
    assert buckets(tenant) == [name]
    realms.agree(NAME, RealmTerms())
    with pytest.raises(serr.Perm):
        tenant.get_file(f"{place}/f")
    tstate_all.sc.rmdir_entries(place)


def buckets(sc: SigmaClnt) -> list[str]:
    return [stat.name for stat in sc.get_dir("name/s3/~any/") if not stat.name.startswith(".") and stat.name != "rpc"]


def test_files_and_bytes_in_named(tstate_all: Tstate, realms: RealmClnt, tenant: SigmaClnt) -> None:
    tenant.put_file("name/first", b"x" * 1000)
    realms.agree(NAME, RealmTerms(bytes_max=100_000))
    with pytest.raises(serr.NoWrite, match="100000 bytes"):
        tenant.put_file("name/large", b"x" * 200_000)
    tenant.put_file("name/large", b"x" * 50_000)
    with pytest.raises(serr.NoWrite):
        tenant.put_file("name/large", b"x" * 110_000)
    tenant.put_file("name/large", b"x")  # less is no matter
    with SigmaClnt(clnt_env(tstate_all.instance)) as other:
        other.put_file("name/large", b"x" * 200_000)
        other.remove("name/large")
    realms.agree(NAME, RealmTerms(files_max=1))
    with pytest.raises(serr.NoCreate, match="1 files"):
        tenant.put_file("name/second", b"")
    tenant.remove("name/large")
    tenant.remove("name/first")


def test_sessions_and_fids(tstate_all: Tstate, realms: RealmClnt, tenant: SigmaClnt) -> None:
    tenant.get_dir("name/")
    realms.agree(NAME, RealmTerms(fids_max=1))
    with pytest.raises(serr.Retry, match="fids"):
        tenant.get_dir("name/")
    realms.agree(NAME, RealmTerms(sessions_max=1))
    with SigmaClnt(clnt_env(tstate_all.instance, realm=NAME)) as second, pytest.raises(serr.SigmaError):
        second.get_dir("name/")
    tstate_all.sc.get_dir("name/")
    realms.agree(NAME, RealmTerms())
    with SigmaClnt(clnt_env(tstate_all.instance, realm=NAME)) as second:
        assert second.get_dir("name/")


def test_procs_cores_and_memory(realms: RealmClnt, tenant: SigmaClnt) -> None:
    realms.agree(NAME, RealmTerms(cores_max=0.5, mem_mb_max=100))
    for proc, words in (
        (Proc(short, mcpu=600), "0.6 cores"),
        (Proc(short, mem_mb=200), "200 MB"),
    ):
        with pytest.raises(serr.Inval, match=words):
            tenant.spawn(proc)
    running = Proc(long, mcpu=400)
    tenant.spawn(running)
    tenant.wait_start(running.pid)
    with pytest.raises(serr.Retry, match=r"0\.5 cores"):
        tenant.spawn(Proc(short, mcpu=200))
    best_effort = Proc(short)
    tenant.spawn(best_effort)
    assert tenant.wait_exit(best_effort.pid).is_ok()
    tenant.evict(running.pid, grace_s=0)
    tenant.wait_exit(running.pid)
    realms.agree(NAME, RealmTerms(procs_queued_max=1, cores_max=0.1))
    procs = [Proc(long) for _ in range(20)]
    spawned: list[Proc] = []
    with pytest.raises(serr.Retry, match="procs waiting"):
        spawn_all(tenant, procs, spawned)
    realms.agree(NAME, RealmTerms())
    for proc in spawned:
        tenant.evict(proc.pid, grace_s=0)
        tenant.wait_exit(proc.pid)


def spawn_all(sc: SigmaClnt, procs: list[Proc], spawned: list[Proc]) -> None:
    for proc in procs:
        sc.spawn(proc)
        spawned.append(proc)


def test_terms_that_mean_nothing(tstate_all: Tstate, realms: RealmClnt) -> None:
    for terms in (RealmTerms(files_max=-1), RealmTerms(buckets=("a/b",)), RealmTerms(buckets=("",))):
        with pytest.raises(serr.Inval):
            realms.agree(NAME, terms)
    for call in (lambda: realms.agree("nobody", RealmTerms()), lambda: realms.terms("nobody")):
        with pytest.raises(serr.NotFound):
            call()

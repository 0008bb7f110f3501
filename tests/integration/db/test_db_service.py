"""db as a part of an instance: its names, its files, its configuration."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import msgspec
import pytest

from kernel.db.server import database_url
from kernel.db.store import DbStore
from kernel.shell import KernelArgs
from sigmaos_ray import Proc, serr
from sigmaos_ray import config as configuration
from sigmaos_ray.dbclnt import DbClnt
from sigmaos_ray.sigmap import Endpoint

if TYPE_CHECKING:
    from pathlib import Path

    from sigmaos_ray.testing import Tstate

LIMITS = configuration.current().proxy


def count_rows(argv: list[str]) -> int:
    """A program: how many rows a table has."""
    from sigmaos_ray import SigmaClnt

    with SigmaClnt() as sc, DbClnt(sc, "name/db/~local") as db:
        return len(db.query(f"SELECT * FROM {argv[0]}"))


def test_an_instance_has_a_database(tstate_all: Tstate) -> None:
    sc = tstate_all.sc
    assert [stat.name for stat in sc.get_dir("name/db/")] == [node.id for node in tstate_all.instance.kernel_nodes]
    with DbClnt(sc) as db:
        db.execute("CREATE TABLE shelf (name TEXT PRIMARY KEY)")
        assert db.transact([("INSERT INTO shelf VALUES (:name)", {"name": name}) for name in "abc"]) == [1, 1, 1]
        proc = Proc(count_rows, ["shelf"])
        sc.spawn(proc)
        assert sc.wait_exit(proc.pid).data == 3
        db.execute("DROP TABLE shelf")
        calls = sc.read_rpc_stats("name/db/~any")["DbSrv.Exec"]["calls"]
    assert calls >= 2
    assert list((tstate_all.state_dir / "db").glob("rootrealm.sqlite"))


def test_any_of_several_machines_databases_is_refused(tstate_all: Tstate) -> None:
    """B-5: which of them a client gets would be chance. The other machine's is never called."""
    sc = tstate_all.sc
    sc.mk_endpoint_file("name/db/sigma-other", Endpoint(addrs=("192.0.2.1:9",)))
    try:
        mine = tstate_all.instance.kernel_nodes[0].id
        for _ in range(10):
            with DbClnt(sc) as db, pytest.raises((serr.NotSupported, serr.Unreachable)) as refused:
                db.query("SELECT 1 AS one")
            if isinstance(refused.value, serr.NotSupported):
                break
        assert "SIGMAOS_DB_URL" in str(refused.value)
        with DbClnt(sc, f"name/db/{mine}") as db:
            assert db.query("SELECT 1 AS one") == [{"one": 1}]
    finally:
        sc.remove("name/db/sigma-other")


def test_a_realm_has_a_file_of_its_own(tmp_path: Path) -> None:
    first = KernelArgs(kernel_id="k", state_dir=str(tmp_path))
    other = KernelArgs(kernel_id="k", state_dir=str(tmp_path), realm="other")
    assert database_url(first) != database_url(other)
    assert (tmp_path / "db").stat().st_mode & 0o777 == 0o700
    with pytest.raises(serr.Inval, match="state directory"):
        database_url(KernelArgs(kernel_id="k"))
    configured = KernelArgs(kernel_id="k", state_dir=str(tmp_path), db_url="sqlite://")
    assert database_url(configured) == "sqlite://"
    assert database_url(msgspec.structs.replace(configured, realm="other")) == database_url(other)


@pytest.mark.parametrize("url", ["", "nonsense", "no-such-database://x", "sqlite://host:port:port/x"])
def test_a_url_that_is_none(url: str) -> None:
    with pytest.raises(serr.Inval, match="db_url"):
        DbStore(url, LIMITS)


def test_a_database_that_is_away(tmp_path: Path) -> None:
    for url in ("mysql+pymysql://root:secret@127.0.0.1:1/test", f"sqlite:///{tmp_path}/missing/x.sqlite"):
        with closing(DbStore(url, LIMITS)) as store, pytest.raises(serr.Unreachable) as raised:
            store.check()
        assert "secret" not in str(raised.value)


def test_sqlite_opens_no_other_files(tmp_path: Path) -> None:
    other = tmp_path / "other.sqlite"
    sqlite3.connect(other).close()
    with closing(DbStore(f"sqlite:///{tmp_path}/own.sqlite", LIMITS)) as store:
        for statement in (f"ATTACH DATABASE '{other}' AS other", f"VACUUM INTO '{tmp_path}/copy'"):
            with pytest.raises(serr.SigmaError):
                store.execute([(statement, {})])
        assert not (tmp_path / "copy").exists()
        assert [row[1] for row in store.query("PRAGMA database_list", {}).rows] == ["main"]

"""Exercise 5, the optional parts: echo servers with a cache, with a database, and with a profile.

pytest --start tests/exercises -k Echo
"""

from __future__ import annotations

import contextlib
import secrets
from typing import TYPE_CHECKING

import pytest

from sigmaos_ray import Proc, serr
from sigmaos_ray.dbclnt import DbClnt
from sigmaos_ray.rpcclnt import RPCClnt
from user.cache import CacheClnt, CacheJob
from user.example_echo_server.clnt import EchoClnt
from user.example_echo_server.echo_pb2 import CountReply, EchoRequest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sigmaos_ray import SigmaClnt
    from sigmaos_ray.testing import Tstate


@pytest.fixture(scope="module")
def sc(tstate_all: Tstate) -> SigmaClnt:
    return tstate_all.sc


@contextlib.contextmanager
def serving(sc: SigmaClnt, module: str, *args: str, env: dict[str, str] | None = None) -> Iterator[str]:
    """The name of a server of that program, and its end."""
    pn = f"name/example/{secrets.token_hex(4)}"
    server = Proc(f"user.example_echo_server.{module}", [pn, *args], env=env)
    sc.spawn(server)
    sc.wait_start(server.pid)
    yield pn
    sc.evict(server.pid)
    status = sc.wait_exit(server.pid)
    assert status.is_evicted() or status.is_ok(), status


class TestMoreEchoes:
    def test_a_cache_keeps_the_answers(self, sc: SigmaClnt) -> None:
        job = f"echo-{secrets.token_hex(4)}"
        with (
            CacheJob(sc, job),
            CacheClnt(sc, job) as cache,
            serving(sc, "cached", job) as first,
            serving(sc, "cached", job) as second,
            EchoClnt(sc, first) as one,
            EchoClnt(sc, second) as other,
        ):
            assert one.echo("cached") == other.echo("cached") == one.echo("cached") == "cached"
            [stats] = cache.stats().values()
            assert (stats.keys, stats.misses, stats.hits) == (1, 1, 2)
            with pytest.raises(serr.Inval):
                one.echo("")

    def test_a_database_counts_them(self, sc: SigmaClnt) -> None:
        with (
            serving(sc, "stored") as first,
            serving(sc, "stored") as second,
            EchoClnt(sc, first) as one,
            EchoClnt(sc, second) as other,
            DbClnt(sc) as db,
        ):
            for clnt in (one, other, one):
                assert clnt.echo("it's stored") == "it's stored"
            rpc = RPCClnt(sc, second)
            assert rpc.rpc("EchoSrv.Count", EchoRequest(text="it's stored"), CountReply).times == 3
            assert rpc.rpc("EchoSrv.Count", EchoRequest(text="never"), CountReply).times == 0
            rpc.close()
            assert db.query("SELECT * FROM echoes") == [{"text": "it's stored", "times": 3}]
            db.execute("DROP TABLE echoes")

    def test_a_profile_tells_of_them(self, sc: SigmaClnt, tmp_path: Path) -> None:
        env = {"SIGMAPERF": "ECHO_SERVER_TPT;", "SIGMAOS_PERF_DIR": str(tmp_path)}
        with serving(sc, "profiled", env=env) as pn, EchoClnt(sc, pn) as clnt:
            for _ in range(50):
                clnt.echo("profiled")
        [record] = tmp_path.glob("*tpt*")
        assert record.read_text()

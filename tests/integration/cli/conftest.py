"""The command line on real servers of this process: named, ux and s3, without Ray."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest
from command import Sigmaos
from fssite import Site

from sigmaos_ray import SigmaClnt
from sigmaos_ray.instance import outside_proc_env

if TYPE_CHECKING:
    from collections.abc import Iterator

    from etcd_child import EtcdChild
    from motoserver import Emulator

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def site(etcd: EtcdChild, s3_emulator: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Site(tmp_path_factory.mktemp("site"), etcd.endpoint, s3_emulator.url) as running:
        yield running


@pytest.fixture(scope="session")
def bucket(s3_emulator: Emulator) -> str:
    return s3_emulator.new_bucket()


@pytest.fixture(scope="session")
def clnt(site: Site) -> Iterator[SigmaClnt]:
    with SigmaClnt(outside_proc_env(site.state_file)) as sc:
        yield sc


@pytest.fixture
def sigmaos(site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Sigmaos:
    """As a user calls it."""
    for name in ("SIGMAOS_NAMED", "SIGMAOS_REALM"):
        monkeypatch.delenv(name, raising=False)
    return Sigmaos(site.state_file.parent, capsys)


@pytest.fixture(params=["named", "ux", "s3"])
def place(request: pytest.FixtureRequest, clnt: SigmaClnt, bucket: str) -> str:
    """A directory of the test's own, on each server."""
    roots = {"named": "name", "ux": "name/ux/~local", "s3": f"name/s3/~local/{bucket}"}
    directory = f"{roots[request.param]}/t{next(_numbers)}"
    clnt.makedirs(directory)
    clnt.put_file(f"{directory}/keep", b"")  # on S3 a directory is there with what is in it
    return directory

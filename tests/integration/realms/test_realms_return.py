"""Realms come back with their instance, and a realm that is made again has what it kept, unless that was removed."""

from __future__ import annotations

import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kernel.boot import start_instance, stop_instance
from sigmaos_ray import SigmaClnt, serr
from sigmaos_ray.instance import STATE_FILE_NAME, Instance, read_instance
from sigmaos_ray.realmclnt import RealmClnt
from sigmaos_ray.testing.tstate import clnt_env

if TYPE_CHECKING:
    from collections.abc import Iterator

TIMEOUT_S = 30.0


@pytest.fixture
def state_dir() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="sigmaos-test-realms-") as name:
        try:
            yield Path(name)
        finally:
            stop_instance(Path(name))


def _start(state_dir: Path) -> Instance:
    """named alone: a realm is then a named, and no more."""
    start_instance(state_dir, services=("named",), num_cpus=1, own_ray=True, on_line=lambda _line: None)
    return _instance(state_dir)


def _instance(state_dir: Path) -> Instance:
    instance = read_instance(state_dir / STATE_FILE_NAME)
    assert instance is not None
    return instance


@contextmanager
def _clnt(state_dir: Path, realm: str) -> Iterator[SigmaClnt]:
    """A client of the realm, once that is up."""
    deadline_s = time.monotonic() + TIMEOUT_S
    while realm not in _instance(state_dir).realms:
        assert time.monotonic() < deadline_s, f"{realm} did not come back"
        time.sleep(0.02)
    with SigmaClnt(clnt_env(_instance(state_dir), realm=realm)) as sc:
        yield sc


def test_what_a_realm_keeps(state_dir: Path) -> None:
    with SigmaClnt(clnt_env(_start(state_dir))) as root:
        realms = RealmClnt(root)
        realms.make("back")
        with _clnt(state_dir, "back") as sc:
            sc.put_file("name/kept", b"1")
        realms.remove("back")
        assert realms.list() == {}
        realms.make("back")
        with _clnt(state_dir, "back") as sc:
            assert sc.get_file("name/kept") == b"1"
        realms.remove("back", remove_state=True)
        realms.make("back")
        with _clnt(state_dir, "back") as sc:
            with pytest.raises(serr.NotFound):
                sc.stat("name/kept")
            sc.put_file("name/kept", b"2")
    stop_instance(state_dir)
    _start(state_dir)
    with _clnt(state_dir, "back") as sc:
        assert sc.get_file("name/kept") == b"2"

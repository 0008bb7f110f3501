"""Realms come back with their instance, and with what they kept."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from kernel.boot import start_instance, stop_instance
from sigmaos_ray import SigmaClnt
from sigmaos_ray.config import STATE_FILE_NAME, Instance, read_instance
from sigmaos_ray.realmclnt import RealmClnt
from sigmaos_ray.testing.tstate import clnt_env


def _start(state_dir: Path) -> Instance:
    start_instance(state_dir, services=("named",), num_cpus=1, own_ray=True, on_line=lambda _line: None)
    found = read_instance(state_dir / STATE_FILE_NAME)
    assert found is not None
    return found


def _instance_with(state_dir: Path, realm: str) -> Instance:
    """The instance, once the realm is up again."""
    deadline_s = time.monotonic() + 30
    while time.monotonic() < deadline_s:
        found = read_instance(state_dir / STATE_FILE_NAME)
        if found is not None and realm in found.realms:
            return found
        time.sleep(0.02)
    raise AssertionError(f"{realm} did not come back")


def test_a_realm_returns_after_stop_and_start() -> None:
    with tempfile.TemporaryDirectory(prefix="sigmaos-test-realms-") as name:
        state_dir = Path(name)
        try:
            with SigmaClnt(clnt_env(_start(state_dir))) as root:
                RealmClnt(root).make("back")
                with SigmaClnt(clnt_env(_instance_with(state_dir, "back"), realm="back")) as sc:
                    sc.put_file("name/kept", b"1")
            stop_instance(state_dir)
            _start(state_dir)
            with SigmaClnt(clnt_env(_instance_with(state_dir, "back"), realm="back")) as sc:
                assert sc.get_file("name/kept") == b"1"
        finally:
            stop_instance(state_dir)

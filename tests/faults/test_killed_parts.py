"""What holds when a part of an instance is killed with signal 9 (D-3, D-6, X-28, K-4).

| promise | test |
|---|---|
| acknowledged files are there after named's death | test_named_is_replaced |
| acknowledged files are there after etcd's death | test_etcd_is_restarted |
| a schedd's death is told to waiters, its name comes back, procs can be spawned again | test_schedd_is_replaced |
| nothing is left after boot's own death and a stop; a driver that joined outlives the instance | test_boot_itself |
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psutil
import pytest

from kernel import boot
from kernel.boot.raychoice import TOKEN_FILE_NAME
from sigmaos_ray import Proc, SigmaClnt, serr
from sigmaos_ray.instance import STATE_FILE_NAME, Instance, outside_proc_env, read_instance
from sigmaos_ray.testing import Tstate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

WITHIN_S = 30.0


@pytest.fixture(scope="module")
def ts() -> Iterator[Tstate]:
    """An instance of its own: what is killed here must not disturb the tests of others."""
    with Tstate(("named", "schedd")) as tstate:
        yield tstate


def service_pid(instance: Instance, service: str) -> int:
    return instance.kernel_nodes[0].services[service].pid


def until(condition: Callable[[], bool]) -> None:
    """Waits for a state that nobody announces outside of the instance."""
    deadline = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < deadline, "the state was not reached"
        time.sleep(0.05)


def replaced(ts: Tstate, service: str, old_pid: int) -> Callable[[], bool]:
    def check() -> bool:
        services = ts.instance.kernel_nodes[0].services
        return service in services and services[service].pid != old_pid

    return check


def test_named_is_replaced(ts: Tstate) -> None:
    """Clients go on by themselves, on the same object, with the same data."""
    for number in range(20):
        ts.sc.put_file(f"name/ux/{number}", str(number).encode())
    old_pid = service_pid(ts.instance, "named")
    os.kill(old_pid, signal.SIGKILL)
    assert {stat.name for stat in ts.sc.get_dir("name/ux")} >= {str(number) for number in range(20)}
    assert ts.sc.get_file("name/ux/7") == b"7"
    ts.sc.put_file("name/ux/after", b"x")
    until(replaced(ts, "named", old_pid))
    proc = Proc("example")
    ts.sc.spawn(proc)
    assert ts.sc.wait_exit(proc.pid, WITHIN_S).is_ok()
    for stat in ts.sc.get_dir("name/ux"):
        ts.sc.remove(f"name/ux/{stat.name}")


def test_etcd_is_restarted(ts: Tstate) -> None:
    ts.sc.put_file("name/ux/before", b"x")
    etcd = next(child for child in ts.instance.children if child.name == "etcd")
    os.kill(etcd.pid, signal.SIGKILL)
    assert ts.sc.get_file("name/ux/before") == b"x"

    def written() -> bool:
        try:
            return ts.sc.put_file("name/ux/after", b"y") == 1
        except serr.SigmaError:
            return False

    until(written)
    assert ts.sc.get_file("name/ux/after") == b"y"
    assert next(child.pid for child in ts.instance.children if child.name == "etcd") != etcd.pid
    for stat in ts.sc.get_dir("name/ux"):
        ts.sc.remove(f"name/ux/{stat.name}")


def test_schedd_is_replaced(ts: Tstate) -> None:
    """X-28: who waits for a proc of a dead schedd is told so, and does not hang."""
    waiting = Proc(_sleep, ["30"])
    ts.sc.spawn(waiting)
    old_pid = service_pid(ts.instance, "schedd")
    os.kill(old_pid, signal.SIGKILL)
    with pytest.raises(serr.SigmaError):
        ts.sc.wait_exit(waiting.pid, WITHIN_S)
    until(replaced(ts, "schedd", old_pid))

    def spawned() -> bool:
        proc = Proc("example")
        try:
            ts.sc.spawn(proc)
            return ts.sc.wait_exit(proc.pid, WITHIN_S).is_ok()
        except serr.SigmaError:
            return False

    until(spawned)


def _sleep(argv: list[str]) -> None:
    time.sleep(float(argv[0]))


_DRIVER: Final = """
import logging, os, sys, ray
ray.init(address=sys.argv[1], log_to_driver=False, logging_level=logging.ERROR)
print("joined", flush=True)
sys.stdin.readline()
print("alive", flush=True)
os._exit(0)
"""


def test_boot_itself() -> None:
    """kill -9 of the boot process: clients are told, `stop` cleans up what it left, a new start finds the files. When
    that one is stopped, Ray's own processes end, not those of users that use it."""
    with tempfile.TemporaryDirectory(prefix="sigmaos-test-") as state_dir:
        instance, file = _start(state_dir), Path(state_dir) / STATE_FILE_NAME
        with SigmaClnt(outside_proc_env(file)) as sc:
            sc.put_file("name/kept", b"x")
        descendants = psutil.Process(instance.boot_pid).children(recursive=True)
        os.kill(instance.boot_pid, signal.SIGKILL)
        boot.stop_instance(state_dir)
        assert read_instance(file) is None
        gone, alive = psutil.wait_procs(descendants, timeout=10)
        assert not alive, f"still there: {[process.name() for process in alive]}"
        assert gone
        instance = _start(state_dir)
        try:
            with SigmaClnt(outside_proc_env(file)) as sc:
                assert sc.get_file("name/kept") == b"x"
            with _joined(instance) as driver:
                boot.stop_instance(state_dir)
                printed, _ = driver.communicate("\n", timeout=WITHIN_S)
                assert printed == "alive\n"
        finally:
            boot.stop_instance(state_dir)


def _start(state_dir: str) -> Instance:
    return boot.start_instance(state_dir, services=("named",), own_ray=True, on_line=lambda _line: None)


@contextlib.contextmanager
def _joined(instance: Instance) -> Iterator[subprocess.Popen[str]]:
    """A user's driver of the instance's Ray. It ends once it is told a line, and says that it lived."""
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(Path(instance.state_dir) / TOKEN_FILE_NAME)}
    with subprocess.Popen(
        [sys.executable, "-c", _DRIVER, instance.ray_address],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | token,
    ) as driver:
        assert driver.stdout is not None
        assert driver.stdout.readline() == "joined\n"
        yield driver

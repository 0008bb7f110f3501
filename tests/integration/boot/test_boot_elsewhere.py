"""State files of another machine's instance, and of one that crashed: whose processes are ended, and whose are not."""

from __future__ import annotations

import socket
import subprocess
from typing import TYPE_CHECKING

import msgspec
import pytest

from kernel import boot
from sigmaos_ray import serr
from sigmaos_ray.instance import STATE_FILE_NAME, ChildProcess, Instance, KernelNode, ServiceInfo
from sigmaos_ray.machine import OsProcess
from sigmaos_ray.sigmap import Endpoint

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OUR_HOST = socket.gethostname()


@pytest.fixture
def sleepers() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Processes that an instance may have for its own."""
    processes = [subprocess.Popen(["sleep", "600"]) for _ in range(3)]
    yield processes
    for process in processes:
        process.kill()
        process.wait()


def written(
    directory: Path, sleepers: list[subprocess.Popen[bytes]], host_name: str, of_machine: str = "", named: str = ""
) -> Instance:
    """The state file of an instance that consists of the sleepers, on this machine unless another is said."""
    boot_process, child, service = (OsProcess.of(sleeper.pid) for sleeper in sleepers)
    assert boot_process is not None
    assert child is not None
    assert service is not None
    machine = of_machine or boot_process.machine
    info = ServiceInfo(host="10.0.0.1", port=1, pid=service.pid, machine=machine, started_ticks=service.started_ticks)
    instance = Instance(
        realm="rootrealm",
        state_dir=str(directory),
        boot_pid=boot_process.pid,
        boot_machine=machine,
        boot_started_ticks=boot_process.started_ticks,
        boot_host_name=host_name,
        named=Endpoint(addrs=(named,) if named else ()),
        children=[ChildProcess(name="etcd", pid=child.pid, machine=machine, started_ticks=child.started_ticks)],
        kernel_nodes=[KernelNode(id="sigma-1", host="10.0.0.1", services={"ux": info})],
    )
    (directory / STATE_FILE_NAME).write_bytes(instance.to_json())
    return instance


def test_a_stop_ends_what_is_here(tmp_path: Path, sleepers: list[subprocess.Popen[bytes]]) -> None:
    written(tmp_path, sleepers, OUR_HOST)
    assert boot.stop_instance(tmp_path)
    for sleeper in sleepers:
        sleeper.wait(10)
    assert not (tmp_path / STATE_FILE_NAME).exists()


def test_a_stop_leaves_the_numbers_of_other_machines_alone(
    tmp_path: Path, sleepers: list[subprocess.Popen[bytes]]
) -> None:
    """As after a restart of this machine: boot, etcd and ux had numbers that other processes have by now."""
    instance = written(tmp_path, sleepers, OUR_HOST, of_machine="before the restart")
    assert instance.has_crashed()
    assert boot.stop_instance(tmp_path)
    assert [sleeper.poll() for sleeper in sleepers] == [None, None, None]
    assert not (tmp_path / STATE_FILE_NAME).exists()


def test_an_instance_of_another_host_that_serves_is_not_stopped_from_here(
    tmp_path: Path, sleepers: list[subprocess.Popen[bytes]]
) -> None:
    with socket.create_server(("127.0.0.2", 0)) as named:
        address = f"127.0.0.2:{named.getsockname()[1]}"
        instance = written(tmp_path, sleepers, "head", of_machine="another", named=address)
        assert not instance.has_crashed()
        with pytest.raises(serr.NotSupported, match="runs on head: stop it there"):
            boot.stop_instance(tmp_path)
        with pytest.raises(serr.NotSupported, match="runs on head: stop it there"):
            boot.start_instance(tmp_path)
        assert (tmp_path / STATE_FILE_NAME).exists()
    # It does not answer any more: what it left here is for nobody else to clear.
    assert boot.stop_instance(tmp_path)
    assert [sleeper.poll() for sleeper in sleepers] == [None, None, None]


def test_status_names_each_process_with_its_machine(tmp_path: Path, sleepers: list[subprocess.Popen[bytes]]) -> None:
    written(tmp_path, sleepers, OUR_HOST)
    status = msgspec.json.decode((tmp_path / STATE_FILE_NAME).read_bytes())
    assert {"host", "port", "pid", "machine", "started_ticks"} == set(status["kernel_nodes"][0]["services"]["ux"])

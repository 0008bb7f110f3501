"""Tstate's own promises, with a boot that serves memory: what starts is stopped, and what stays behind is told."""

from __future__ import annotations

import os
import subprocess
import sys
import types
from typing import TYPE_CHECKING

import psutil
import pytest

import kernel
from sigmaos_ray import loopthread, serr
from sigmaos_ray.config import STATE_FILE_NAME, ChildProcess, Instance
from sigmaos_ray.memfs import MemFs
from sigmaos_ray.protsrv.server import FileServer
from sigmaos_ray.protsrv.watch import WatchTable
from sigmaos_ray.testing import Tstate, leaks

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class FakeBoot(types.ModuleType):
    """``kernel.boot`` with memfs for named, and a child process that may be forgotten."""

    forgets = False
    fails = False

    def __init__(self) -> None:
        super().__init__("kernel.boot")
        self.log: list[str] = []
        self.dirs: list[Path] = []
        self.parts: dict[Path, tuple[subprocess.Popen[bytes], FileServer]] = {}

    def start_instance(self, state_dir: Path, *, services: object, **_options: object) -> Instance:
        self.log.append(f"start {services}")
        self.dirs.append(state_dir)
        if self.fails:
            raise serr.Error("etcd", "did not start")
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        watches = WatchTable()
        server = FileServer(MemFs(watches).root, watches, realm="rootrealm")
        endpoint = loopthread.shared().run(server.start())
        self.parts[state_dir] = (child, server)
        created_s = psutil.Process(child.pid).create_time()
        instance = Instance(
            realm="rootrealm",
            state_dir=str(state_dir),
            boot_pid=child.pid,
            boot_created_s=created_s,
            named=endpoint,
            children=[ChildProcess(name="child", pid=child.pid, created_s=created_s)],
        )
        (state_dir / STATE_FILE_NAME).write_bytes(instance.to_json())
        return instance

    def stop_instance(self, state_dir: Path) -> None:
        self.log.append("stop")
        if state_dir not in self.parts:
            return
        child, server = self.parts[state_dir]
        loopthread.shared().run(server.stop())
        if not self.forgets:
            child.communicate(b"\n")

    def end_children(self) -> None:
        for child, _ in self.parts.values():
            if child.returncode is None:
                child.communicate(b"\n")


@pytest.fixture
def boot(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeBoot]:
    fake = FakeBoot()
    monkeypatch.setitem(sys.modules, "kernel.boot", fake)
    monkeypatch.setattr(kernel, "boot", fake, raising=False)
    yield fake
    fake.end_children()


def test_an_instance_for_the_length_of_a_block(boot: FakeBoot) -> None:
    with Tstate.path("name/") as ts:
        ts.sc.put_file("name/f", b"hi")
        with ts.new_clnt() as other:
            assert other.get_file("name/f") == b"hi"
            assert other.pid != ts.sc.pid
        assert ts.state_dir == boot.dirs[0]
    assert boot.log == ["start ('named',)", "stop"]
    assert not boot.dirs[0].exists()
    with pytest.raises(serr.Unreachable):
        ts.sc.get_file("name/f")


def test_everything_for_what_lies_behind_services(boot: FakeBoot) -> None:
    with Tstate.path("name/ux/~local/"), Tstate.all():
        pass
    assert boot.log == ["start None", "start None", "stop", "stop"]


def test_a_process_that_stays_behind_is_told(boot: FakeBoot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaks, "END_WAIT_S", 0.1)
    boot.forgets = True
    with pytest.raises(AssertionError, match="outlived"), Tstate.all():
        pass
    assert not boot.dirs[0].exists()


def test_a_start_that_fails_leaves_nothing(boot: FakeBoot) -> None:
    boot.fails = True
    with pytest.raises(serr.Error, match="did not start"), Tstate.all():
        pass
    assert boot.log == ["start None", "stop"]
    assert not boot.dirs[0].exists()


def test_the_running_instance_is_left_alone(boot: FakeBoot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGMAOS_STATE_DIR", os.fspath(tmp_path))
    with pytest.raises(serr.Unreachable), Tstate.all(start=False):
        pass
    boot.start_instance(tmp_path, services=None)
    boot.log.clear()
    with Tstate.all(start=False) as ts:
        ts.sc.put_file("name/f", b"hi")
    assert boot.log == []
    boot.stop_instance(tmp_path)

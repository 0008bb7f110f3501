"""A ``kernel.boot`` that serves memory: what is tested is who starts and stops it, and when."""

from __future__ import annotations

import subprocess
import sys
import types
from typing import TYPE_CHECKING

from sigmaos_ray import loopthread, serr
from sigmaos_ray.instance import STATE_FILE_NAME, ChildProcess, Instance
from sigmaos_ray.machine import OsProcess
from sigmaos_ray.memfs import MemFs
from sigmaos_ray.protsrv.server import FileServer
from sigmaos_ray.protsrv.watch import WatchTable

if TYPE_CHECKING:
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

    def start_instance(self, state_dir: Path, *, services: object = None, **_options: object) -> Instance:
        self.log.append(f"start {services}")
        self.dirs.append(state_dir)
        if self.fails:
            raise serr.Error("etcd", "did not start")
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        watches = WatchTable()
        server = FileServer(MemFs(watches).root, watches, realm="rootrealm")
        endpoint = loopthread.shared().run(server.start())
        self.parts[state_dir] = (child, server)
        process = OsProcess.of(child.pid)
        assert process is not None
        instance = Instance(
            realm="rootrealm",
            state_dir=str(state_dir),
            boot_pid=child.pid,
            boot_machine=process.machine,
            boot_started_ticks=process.started_ticks,
            named=endpoint,
            children=[
                ChildProcess(name="child", pid=child.pid, machine=process.machine, started_ticks=process.started_ticks)
            ],
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

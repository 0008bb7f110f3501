"""``sigmaos`` as a user calls it, in a box: every process that it starts is known by a mark in its environment, every
temporary file by its directory. So what is left behind can be told exactly."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

import psutil

from sigmaos_ray.instance import STATE_FILE_NAME

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")

_MARK = "SIGMAOS_TEST_BOX"
TIMEOUT_S = 120
END_WAIT_S = 60.0
"""For what must end at all: a bound, not a measure. A busy machine takes its time to end Ray's processes."""
LOOK_AGAIN_S = 0.05


class Box:
    """A state directory and an environment of its own. A context manager: at its end nothing is left, or it raises."""

    def __init__(self) -> None:
        # Short, because Ray's sockets lie below it.
        self.root = Path(tempfile.mkdtemp(prefix="sbox-", dir="/tmp"))
        self.state_dir = self.root / "state"
        self.temp_dir = self.root / "t"
        self.temp_dir.mkdir()
        self._mark = secrets.token_hex(8)
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("SIGMA", "RAY_", "AWS_"))
        }
        self.env = environment | {
            _MARK: self._mark,
            "SIGMAOS_STATE_DIR": str(self.state_dir),
            "SIGMAOS_OWN_RAY": "1",
            "TMPDIR": str(self.temp_dir),
            "AWS_CONFIG_FILE": str(self.root / "no-aws-config"),
            "AWS_SHARED_CREDENTIALS_FILE": str(self.root / "no-aws-credentials"),
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.run("stop")
            self.check_nothing_is_left()
        finally:
            for process in self.processes():
                with contextlib.suppress(psutil.Error):
                    process.kill()
            shutil.rmtree(self.root, ignore_errors=True)

    # -- the command

    def popen(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "sigmaos_ray.cli", *arguments],
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        process = self.popen(*arguments)
        with process:
            out, err = process.communicate(timeout=TIMEOUT_S)
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def ok(self, *arguments: str) -> str:
        """What a command prints that must succeed."""
        done = self.run(*arguments)
        assert (done.returncode, done.stderr) == (0, ""), f"sigmaos {' '.join(arguments)}: {done.stdout}{done.stderr}"
        return done.stdout

    def fails(self, *arguments: str) -> str:
        """The one line on stderr of a command that must fail."""
        done = self.run(*arguments)
        assert done.returncode == 1, done
        assert done.stderr.count("\n") == 1, done.stderr
        return done.stderr

    def put(self, pathname: str, text: str) -> None:
        local = self.root / "local"
        local.write_text(text)
        self.ok("put", str(local), pathname)

    # -- the instance

    def status(self) -> dict[str, Any]:
        """What ``sigmaos status --json`` prints: the state file, read without a process for it, since tests ask until
        something has come."""
        described: dict[str, Any] = json.loads((self.state_dir / STATE_FILE_NAME).read_bytes())
        return described

    def until(self, holds: Callable[[], T]) -> T:
        """Looks until something holds, and returns what it was: nobody announces what the state file says.
        AssertionError once boot is gone, or if it does not come."""
        deadline_s = time.monotonic() + TIMEOUT_S
        while not (value := holds()):
            assert psutil.pid_exists(self.status()["boot_pid"]), "the instance is gone"
            assert time.monotonic() < deadline_s, self.status()
            time.sleep(LOOK_AGAIN_S)
        return value

    def pid_of(self, part: str) -> int:
        """The process of ``boot``, of a child (``etcd``, ``emulator``), of a kernel service, or of Ray (``raylet``);
        waits for a part that is started again."""
        return self.until(lambda: self._pids().get(part, 0))

    def _pids(self) -> dict[str, int]:
        status = self.status()
        pids: dict[str, int] = {
            node_part: info["pid"] for node in status["kernel_nodes"] for node_part, info in node["services"].items()
        }
        pids |= {"emulator" if child["name"] == "s3" else child["name"]: child["pid"] for child in status["children"]}
        pids |= {child.name(): child.pid for child in psutil.Process(status["boot_pid"]).children()} | pids
        return pids | {"boot": status["boot_pid"]}

    def kill(self, part: str) -> None:
        """kill -9; returns once the process is gone."""
        process = psutil.Process(self.pid_of(part))
        process.send_signal(signal.SIGKILL)
        psutil.wait_procs([process], timeout=END_WAIT_S)

    # -- what is left

    def processes(self) -> list[psutil.Process]:
        return list(self._marked())

    def _marked(self) -> Iterator[psutil.Process]:
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if process.environ().get(_MARK) == self._mark and process.status() != psutil.STATUS_ZOMBIE:
                    yield process

    def check_nothing_is_left(self) -> None:
        """No process, no state file, no temporary file."""
        _, alive = psutil.wait_procs(self.processes(), timeout=END_WAIT_S)
        survivors = [f"{process.pid} {' '.join(process.cmdline())[:100]}" for process in alive if process.is_running()]
        assert not survivors, f"processes outlived their instance: {survivors}"
        assert not (self.state_dir / STATE_FILE_NAME).exists()
        assert list(self.temp_dir.iterdir()) == []


def free_pair() -> int:
    """A port that is free, and so is the next one."""
    while True:
        with socket.socket() as first, socket.socket() as second, contextlib.suppress(OSError, OverflowError):
            first.bind(("127.0.0.1", 0))
            port: int = first.getsockname()[1]
            second.bind(("127.0.0.1", port + 1))
            return port

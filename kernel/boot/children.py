"""The child processes of an instance: started with their output in a log, watched, restarted, ended."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Final

from sigmaos_ray import debug, serr
from sigmaos_ray.config import LOCAL
from sigmaos_ray.instance import ChildProcess
from sigmaos_ray.machine import OsProcess, descendants

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

_log = debug.selector("BOOT")

_DIE_WITH_PARENT: Final = (
    sys.executable,
    "-ISc",
    f"import ctypes, os, sys; ctypes.CDLL(None).prctl(1, {int(signal.SIGTERM)}); os.execvp(sys.argv[1], sys.argv[1:])",
)
"""Before a command: it ends when the daemon does, however that ends (PR_SET_PDEATHSIG). Not done by a preexec_fn: that
runs in a fork of this process, where gRPC's threads are gone but its fork handlers are not, and may crash there."""


def free_port(host: str) -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


def is_port_free(host: str, port: int) -> bool:
    """Whether a server could listen there now; another may be quicker."""
    with socket.socket() as probe:
        # As etcd does: a port whose last connections are in TIME_WAIT is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def _end_of(line: str) -> str:
    return line[-300:]


class Child:
    """One child process and how to start it again. Who makes it calls ``end``."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        log: Path,
        is_ready: Callable[[], bool],
        env: dict[str, str] | None = None,
        explain: Callable[[str], str] = _end_of,
        directory: Path | None = None,
        prepare: Callable[[], object] = lambda: None,
    ) -> None:
        """``explain`` makes a sentence of the last line that it printed before it ended too early. ``directory``: where
        it works, if that matters. ``prepare``: called before each start."""
        self._directory = directory
        self._prepare = prepare
        self.name = name
        self._command = list(command)
        self._log = log
        self._is_ready = is_ready
        self._env = os.environ | (env or {})
        self._explain = explain
        self._process: subprocess.Popen[bytes] | None = None
        self._identity: OsProcess | None = None

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, f"{self.name} was not started"
        return self._process

    @property
    def is_launched(self) -> bool:
        return self._process is not None

    def launch(self) -> None:
        """Starts the process; does not wait for it. Error if it cannot be executed. Call it in the main thread: the
        process ends with the thread that started it."""
        self._prepare()
        with self._log.open("ab") as output:
            try:
                self._process = subprocess.Popen(
                    [*_DIE_WITH_PARENT, *self._command],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    env=self._env,
                    cwd=self._directory,
                )
            except OSError as error:
                raise serr.Error(self.name, f"{self._command[0]}: {error.strerror}") from error
        # A child that nobody has waited for: the number is its own, also if it has ended already.
        self._identity = OsProcess.of(self.process.pid)
        _log(f"{self.name}: process {self.process.pid}")

    def wait_ready(self, timeout_s: float) -> None:
        """Blocks until it answers. Error, with the end of its log, if it ends or does not answer in time."""
        deadline_s = time.monotonic() + timeout_s
        while not self._is_ready():
            code = self.process.poll()
            if code is not None:
                raise serr.Error(self.name, f"ended with code {code}: {self._last_words()}")
            if time.monotonic() > deadline_s:
                raise serr.Timeout(self.name, f"no answer within {timeout_s:.0f} s; see {self._log}")
            time.sleep(LOCAL.boot.look_again_s)

    def _last_words(self) -> str:
        with contextlib.suppress(OSError):
            lines = self._log.read_text(errors="replace").strip().splitlines()
            if lines:
                return self._explain(lines[-1])
        return f"see {self._log}"

    def record(self) -> ChildProcess:
        """Who it is, for those who must end it should the daemon not come to it."""
        process = self._identity
        assert process is not None, f"{self.name} was not started"
        return ChildProcess(
            name=self.name, pid=process.pid, machine=process.machine, started_ticks=process.started_ticks
        )

    async def wait_end(self) -> int:
        """Returns when the process ended, with its exit code."""
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[None] = loop.create_future()
        pidfd = os.pidfd_open(self.process.pid)

        def on_end() -> None:
            if not ended.done():
                ended.set_result(None)

        loop.add_reader(pidfd, on_end)
        try:
            await ended
        finally:
            loop.remove_reader(pidfd)
            os.close(pidfd)
        return self.process.wait()

    def end(self, timeout_s: float) -> None:
        """Asks it to end, kills it after a while. May be repeated."""
        process = self._process
        if process is None or process.poll() is not None:
            return  # its number may be another process's by now
        process.terminate()
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def below(process: OsProcess) -> list[OsProcess]:
    """The process and its descendants, as far as they live on this machine."""
    return [process, *descendants(process)] if process.is_alive() else []


def end_processes(processes: Iterable[OsProcess], timeout_s: float) -> None:
    """Ends processes, first politely; blocks until they are gone, at most twice ``timeout_s``. Those of other machines
    are left alone, and so are other users'."""
    alive = [process for process in processes if process.is_alive()]
    for number in (signal.SIGTERM, signal.SIGKILL):
        for process in alive:
            with contextlib.suppress(PermissionError):
                process.send(number)
        deadline_s = time.monotonic() + timeout_s
        while alive and time.monotonic() < deadline_s:
            time.sleep(LOCAL.boot.look_again_s)
            alive = [process for process in alive if process.is_alive()]


def end_recorded(records: Iterable[ChildProcess], timeout_s: float) -> list[str]:
    """Ends recorded processes and their descendants, first politely. Returns the names of those that lived here."""
    alive = [record for record in records if record.process.is_alive()]
    end_processes([process for record in alive for process in below(record.process)], timeout_s)
    return [record.name for record in alive]

"""memcached as child processes of the tests, on loopback."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

START_TIMEOUT_S: Final = 20.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Memcached:
    """One server. ``stop`` it."""

    def __init__(self) -> None:
        binary = shutil.which("memcached")
        assert binary is not None
        self.port = free_port()
        command = [binary, "-l", "127.0.0.1", "-p", str(self.port), "-m", "64", "-t", "1"]
        if os.geteuid() == 0:
            command += ["-u", pwd.getpwuid(0).pw_name]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._wait()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def _wait(self) -> None:
        ends_s = time.monotonic() + START_TIMEOUT_S
        while True:
            assert self._process.poll() is None, "memcached ended"
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                assert time.monotonic() < ends_s, "memcached does not answer"
                time.sleep(0.02)  # a foreign process: there is nothing else to wait on

    def stop(self) -> None:
        """May be repeated."""
        self._process.kill()
        self._process.wait()


@contextlib.contextmanager
def memcacheds(count: int) -> Iterator[list[Memcached]]:
    with contextlib.ExitStack() as stack:
        servers: list[Memcached] = []
        for _ in range(count):
            servers.append(Memcached())
            stack.callback(servers[-1].stop)
        yield servers

"""A MariaDB as a child process of the tests, on loopback, with data of its own."""

from __future__ import annotations

import contextlib
import getpass
import shutil
import socket
import subprocess
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

START_TIMEOUT_S: Final = 60.0


def is_installed() -> bool:
    return shutil.which("mariadbd") is not None


@contextlib.contextmanager
def mariadb(directory: Path) -> Iterator[str]:
    """The URL of a database named ``test``."""
    data = directory / "data"
    common = ["--no-defaults", f"--datadir={data}", f"--user={getpass.getuser()}"]
    with (directory / "log").open("wb") as log:
        subprocess.run(["mariadb-install-db", *common, "--skip-test-db"], check=True, stdout=log, stderr=log)
        (data / "test").mkdir()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = ["mariadbd", *common, "--bind-address=127.0.0.1", f"--port={port}", "--skip-grant-tables"]
        command += [
            f"--socket={directory / 'socket'}",
            f"--pid-file={directory / 'pid'}",
            "--innodb-flush-method=fsync",
        ]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            _wait(process, port, directory / "log")
            yield f"mysql+pymysql://root:secret@127.0.0.1:{port}/test"
        finally:
            process.kill()  # its data go with it
            process.wait()


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    ends_s = time.monotonic() + START_TIMEOUT_S
    while True:
        assert process.poll() is None, log.read_text()
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            assert time.monotonic() < ends_s, "MariaDB does not answer"
            time.sleep(0.05)  # a foreign process: there is nothing else to wait on

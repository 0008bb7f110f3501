"""``sigmaos`` in a pipeline: in a process of its own, with the standard streams that a shell gives it."""

from __future__ import annotations

import array
import fcntl
import os
import signal
import subprocess
import sys
import termios
import time
from typing import IO, TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from fssite import Site

    from sigmaos_ray import SigmaClnt

TIMEOUT_S = 60
COMMAND = f"{sys.executable} -m sigmaos_ray.cli"


@pytest.fixture
def environment(site: Site) -> dict[str, str]:
    return {**os.environ, "SIGMAOS_STATE_DIR": str(site.state_file.parent)}


def _shell(line: str, environment: dict[str, str], **extra: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        ["bash", "-c", line.replace("sigmaos", COMMAND)],
        env=environment | extra,
        capture_output=True,
        timeout=TIMEOUT_S,
        check=False,
    )


def test_who_has_read_enough_goes(environment: dict[str, str], clnt: SigmaClnt) -> None:
    clnt.put_file("name/ux/~local/large", bytes(3 << 20))
    done = _shell("sigmaos cat name/ux/~local/large | head -c1; exit ${PIPESTATUS[0]}", environment)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"\0", b"")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("sigmaos ls >&-", b"standard output: Bad file descriptor"),
        ("sigmaos ls >/dev/full", b"standard output: No space left on device"),
        ("sigmaos cat name/ux/~local/large >/dev/full", b"standard output: No space left on device"),
        ("sigmaos status --json >&-", b"standard output: Bad file descriptor"),
        ("sigmaos --help >/dev/full", b"standard output: No space left on device"),
        ("sigmaos put - name/new <&-", b"standard input: Bad file descriptor"),
    ],
)
def test_a_stream_that_is_closed_or_full(environment: dict[str, str], clnt: SigmaClnt, line: str, words: bytes) -> None:
    clnt.put_file("name/ux/~local/large", bytes(3 << 20))
    done = _shell(line, environment)
    assert (done.returncode, done.stderr) == (1, b"sigmaos: " + words + b"\n")


def test_who_prints_nothing_needs_no_output(environment: dict[str, str], clnt: SigmaClnt) -> None:
    assert _shell("sigmaos mkdir name/quiet >&- <&-", environment).returncode == 0
    assert _shell("sigmaos cat name/none 2>&-", environment).returncode == 1
    assert clnt.is_dir("name/quiet")


def test_a_terminal_of_few_characters(environment: dict[str, str], clnt: SigmaClnt) -> None:
    clnt.put_file("name/köln☃", b"")
    done = _shell("sigmaos ls", environment, PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"k\\xf6ln\\u2603\n" in done.stdout
    assert "köln\\u2603".encode("latin-1") in _shell("sigmaos ls", environment, PYTHONIOENCODING="latin-1").stdout


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_put_that_is_interrupted_leaves_the_old_file(
    environment: dict[str, str], clnt: SigmaClnt, number: signal.Signals, code: int
) -> None:
    """Small and large: what was sent so far is nowhere."""
    clnt.makedirs("name/ux/~local/put")
    clnt.put_file("name/ux/~local/put/f", b"old")
    for sent in (b"small", bytes(5 << 20)):
        with subprocess.Popen(
            [sys.executable, "-m", "sigmaos_ray.cli", "put", "-", "name/ux/~local/put/f"],
            env=environment,
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            assert process.stdin is not None
            assert process.stderr is not None
            process.stdin.write(sent)
            process.stdin.flush()
            _wait_until_read(process.stdin)
            process.send_signal(number)
            assert process.wait(TIMEOUT_S) == code
            assert process.stderr.read().count(b"\n") <= 1
        assert clnt.get_file("name/ux/~local/put/f") == b"old"
        assert [stat.name for stat in clnt.get_dir("name/ux/~local/put")] == ["f"]


def _wait_until_read(pipe: IO[bytes]) -> None:
    """All that was written to it."""
    count = array.array("i", [1])
    deadline_s = time.monotonic() + TIMEOUT_S
    while count[0]:
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
        fcntl.ioctl(pipe, termios.FIONREAD, count)

"""``sigmaos demo`` as a reader of the README types it: it counts right, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING

import psutil
import pytest

from sigmaos_ray.testing import corpus

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TIMEOUT_S = 180
MARK = "SIGMAOS_DEMO_MARK"
COMMAND = (sys.executable, "-m", "sigmaos_ray.cli", "demo")


@pytest.fixture
def environment() -> Iterator[dict[str, str]]:
    """An environment with a temporary directory of its own and a mark that all descendants carry. Afterwards no
    process carries it, and the directory is empty."""
    temporary, mark = tempfile.mkdtemp(prefix="demo-"), secrets.token_hex(8)
    yield {**os.environ, "TMPDIR": temporary, MARK: mark}
    left = [process for process in psutil.process_iter() if _environ(process).get(MARK) == mark]
    psutil.wait_procs(left, timeout=5)
    assert not [process for process in left if process.is_running()]
    os.rmdir(temporary)


def _environ(process: psutil.Process) -> dict[str, str]:
    try:
        environ: dict[str, str] = process.environ()
    except psutil.Error:
        return {}
    return environ


def test_counts_the_files_of_a_directory(tmp_path: Path, environment: dict[str, str]) -> None:
    (book,) = corpus.books(1, book_bytes=200_000)
    (tmp_path / "a book.txt").write_bytes(book.text)
    (tmp_path / "small").write_text("the end of the")
    (tmp_path / "no text").write_bytes(b"\xff\x00\xfe the")
    (tmp_path / "sub").mkdir()
    command = [*COMMAND, "--input", str(tmp_path), "--json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert {row["file"]: (row["words"], row["the"]) for row in found["files"]} == {
        "a book.txt": (book.words, book.the),
        "small": (4, 2),
        "no text": (2, 1),
    }
    assert found["total"]["the"] == book.the + 3
    assert "'sub': a directory" in done.stderr


@pytest.mark.parametrize(
    ("number", "moment"),
    [
        (signal.SIGINT, "etcd"),
        # tests/integration/harness/test_demo_run.py has it without processes.
        pytest.param(signal.SIGINT, "counting", marks=pytest.mark.soak),
        pytest.param(signal.SIGTERM, "counting", marks=pytest.mark.soak),
    ],
)
def test_a_signal_in_the_middle(environment: dict[str, str], number: signal.Signals, moment: str) -> None:
    """In the middle of the demo, and in the middle of its boot."""
    process = subprocess.Popen(COMMAND, env=environment, stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith(moment):
                process.send_signal(number)
        assert process.wait(TIMEOUT_S) == 128 + number


@pytest.mark.usefixtures("environment")
def test_a_directory_without_files_is_one_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "--input", str(tmp_path)], capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1
    assert str(tmp_path) in done.stderr

"""``sigmaos spawn FILE.py``, ``exec`` and ``run``, as a user types them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from sigmaos_ray.proc.folder import VARIABLE

if TYPE_CHECKING:
    from pathlib import Path

    from command import Sigmaos

    from sigmaos_ray.testing import Tstate

TIMEOUT_S = 60

SCRIPT = """
import sys
import beside
print("script", sys.argv[1:], beside.VALUE, __name__)
sys.exit(int(sys.argv[1]))
"""
PROGRAM = """
import beside
def main(argv):
    with open(__file__) as source:
        assert "beside" in source.read()
    return {"arguments": argv, "value": beside.VALUE}
"""


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of the user's, in which one file is called as a program of SigmaOS's."""
    monkeypatch.setenv(VARIABLE, "")
    (tmp_path / "beside.py").write_text("VALUE = 42\n")
    (tmp_path / "script.py").write_text(SCRIPT)
    (tmp_path / "example.py").write_text(PROGRAM)
    return tmp_path


def test_a_file_of_the_users(sigmaos: Sigmaos, files: Path) -> None:
    """As ``python FILE.py`` runs it, or as a program if it is one; what lies beside it is there."""
    done = sigmaos("spawn", "--wait", str(files / "script.py"), "0", "-x")
    pid = done.stdout.splitlines()[0]
    assert (done.returncode, done.stdout) == (0, f"{pid}\nOK\n")
    assert "script ['0', '-x'] 42 __main__" in sigmaos("logs", pid).stdout
    done = sigmaos("spawn", "--wait", str(files / "script.py"), "7")
    assert (done.returncode, done.stdout.splitlines()[1]) == (1, "ERROR: exit status 7")
    done = sigmaos("spawn", "--wait", "--json", str(files / "example.py"), "a", "b")
    assert json.loads(done.stdout)["status"]["data"] == {"arguments": ["a", "b"], "value": 42}


def test_a_command(sigmaos: Sigmaos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its output and its exit code are those of ``exec``."""
    monkeypatch.chdir(tmp_path)
    done = sigmaos("exec", "--", "sh", "-c", "echo out; echo err >&2; pwd; exit 3")
    assert (done.returncode, done.stdout) == (3, f"out\nerr\n{tmp_path}\n")
    assert sigmaos("exec", "--env", "WORD=hello", "sh", "-c", "echo $WORD").stdout == "hello\n"
    assert sigmaos("exec", "sh", "-c", "kill -9 $$").returncode == 137
    done = sigmaos("exec", "nosuchcommand")
    assert (done.returncode, done.stdout) == (127, "nosuchcommand: no such executable on this machine\n")
    pid = sigmaos("exec", "--detach", "true").stdout.strip()
    assert sigmaos("wait", pid).returncode == 0


def test_a_command_that_is_interrupted(tstate_all: Tstate) -> None:
    """Is evicted, and is seen to print before it ends."""
    with subprocess.Popen(
        [sys.executable, "-m", "sigmaos_ray.cli", "exec", "sh", "-c", "echo begun; exec sleep 600"],
        env=os.environ | {"SIGMAOS_STATE_DIR": str(tstate_all.state_dir)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "begun\n"
        (pid,) = [info.pid for info in tstate_all.sc.procs() if info.pid.startswith("sh-") and not info.ended_s]
        process.send_signal(signal.SIGINT)
        assert process.wait(TIMEOUT_S) == 130
        assert process.stderr.read() == ""
    assert tstate_all.sc.wait_exit(pid, TIMEOUT_S, peek=True).is_evicted()


def test_a_program_over_files(sigmaos: Sigmaos, tstate_all: Tstate, tmp_path: Path) -> None:
    """Files of this machine, and of the namespace; one that fails is told, and nothing is left."""
    for number in (1, 2):
        (tmp_path / f"t{number}.txt").write_text("the word\n" * number)
    locals_ = [str(tmp_path / f"t{number}.txt") for number in (1, 2)]
    sc = tstate_all.sc
    before = {stat.name for stat in sc.get_dir("name/ux/~local/")}
    done = sigmaos("run", "--parallel", "example", *locals_)
    assert done.returncode == 0, done
    assert done.stdout.splitlines()[-1].split()[3:6] == ["6", "3", "27"]
    assert {stat.name for stat in sc.get_dir("name/ux/~local/")} == before
    sc.mkdir("name/ux/~local/over")
    try:
        sc.put_file("name/ux/~local/over/a.txt", b"the\n")
        sc.put_file("name/ux/~local/over/b.txt", b"the the\n")
        listed = json.loads(sigmaos("run", "--json", "example", "name/ux/~local/over/*.txt").stdout)
        assert [file["data"]["the"] for file in listed["files"]] == [1, 2]
        done = sigmaos("run", "nosuchprogram", "name/ux/~local/over/a.txt")
        assert done.returncode == 1
        assert "ERROR" in done.stdout
    finally:
        sc.rmdir("name/ux/~local/over")

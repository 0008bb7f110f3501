"""The tutorial, as somebody goes through it: each start fails, each solution passes, each notebook runs to its end."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from sigmaos_ray.testing import Tstate

TUTORIAL = Path(__file__).parents[2] / "docs" / "tutorial"
EXERCISES = sorted(page.parent.name for page in TUTORIAL.glob("*/*.md"))
WAIT_S = 120


def run(tstate: Tstate, directory: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """A command in a folder, which uses the session's instance, as a user's uses the one that runs."""
    env = {**os.environ, "SIGMAOS_STATE_DIR": tstate.instance.state_dir}
    return subprocess.run(command, cwd=directory, env=env, capture_output=True, text=True, timeout=WAIT_S, check=False)


def tried(tstate: Tstate, source: Path, to: Path) -> subprocess.CompletedProcess[str]:
    shutil.copytree(source, to)
    return run(tstate, to, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider")


def test_there_are_seven_exercises() -> None:
    assert [name.partition("-")[0] for name in EXERCISES] == [str(number) for number in range(1, 8)]


@pytest.mark.parametrize("exercise", EXERCISES)
def test_the_start_fails_and_the_solution_passes(tstate_all: Tstate, tmp_path: Path, exercise: str) -> None:
    folder = TUTORIAL / exercise
    names = [sorted(file.name for file in (folder / part).glob("*.py")) for part in ("start", "solution")]
    assert names[0] == names[1]
    assert "Your code here" in "".join(file.read_text() for file in (folder / "start").glob("*.py"))
    (test,) = (folder / "start").glob("test_*.py")
    assert test.read_text() == (folder / "solution" / test.name).read_text()
    start = tried(tstate_all, folder / "start", tmp_path / "start" / exercise)
    assert start.returncode == 1, start.stdout + start.stderr
    assert "error" not in start.stdout.splitlines()[-1]  # it fails by what is missing, not by itself
    solution = tried(tstate_all, folder / "solution", tmp_path / "solution" / exercise)
    assert solution.returncode == 0, solution.stdout + solution.stderr


@pytest.mark.parametrize("exercise", EXERCISES)
def test_the_notebook_runs(tstate_all: Tstate, tmp_path: Path, exercise: str) -> None:
    """What the page says, cell by cell."""
    pytest.importorskip("nbclient")
    shutil.copy(TUTORIAL / exercise / "notebook.ipynb", tmp_path)
    execute = str(Path(sys.executable).with_name("jupyter-execute"))
    done = run(tstate_all, tmp_path, execute, "--timeout=60", "notebook.ipynb")
    assert done.returncode == 0, done.stderr

"""Programs as people name them, and tables of what came out."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from sigmaos_ray import Status, serr
from sigmaos_ray.cli import running
from sigmaos_ray.cli.programs import program_of
from sigmaos_ray.proc.folder import VARIABLE
from sigmaos_ray.runner import script

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fakeclnt import FakeClnt
    from outcome import Outcome


@pytest.fixture(autouse=True)
def _no_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "")


def test_a_name_is_a_program() -> None:
    assert program_of("example")[:2] == ("example", [])
    assert program_of("pkg.module").new_pid() is None


def test_a_file_goes_with_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or with the folder that is named, if it lies below."""
    file = tmp_path / "d/my tool.py"
    file.parent.mkdir()
    file.write_text("print()\n")
    what = program_of(str(file))
    assert (what.name, what.args, what.fresh, os.environ[VARIABLE]) == (
        script.PROGRAM,
        ["my tool.py"],
        True,
        str(tmp_path / "d"),
    )
    assert (what.new_pid() or "").startswith("my_tool-")
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    assert program_of(str(file)).args == ["d/my tool.py"]
    (tmp_path / "other").mkdir()
    monkeypatch.setenv(VARIABLE, str(tmp_path / "other"))
    assert program_of(str(file)).args == ["my tool.py"]


def test_a_file_that_cannot_run(sigmaos: Callable[..., Outcome], clnt: FakeClnt, tmp_path: Path) -> None:
    """Is told before anything is spawned."""
    (tmp_path / "bad.py").write_text("def")
    (tmp_path / "dir.py").mkdir()
    sigmaos("spawn", str(tmp_path / "none.py")).failed_with(1, "none.py: No such file or directory")
    sigmaos("spawn", str(tmp_path / "dir.py")).failed_with(1, "dir.py: Is a directory")
    sigmaos("spawn", str(tmp_path / "bad.py")).failed_with(1, "bad.py (is no Python: invalid syntax")
    assert clnt.spawned is None


def test_spawn_of_a_file(sigmaos: Callable[..., Outcome], clnt: FakeClnt, tmp_path: Path) -> None:
    (tmp_path / "tool.py").write_text("print()\n")
    outcome = sigmaos("spawn", str(tmp_path / "tool.py"), "-x", "y")
    assert clnt.spawned is not None
    assert outcome.out == f"{clnt.spawned.pid}\n"
    assert (clnt.spawned.program, clnt.spawned.args) == (script.PROGRAM, ["tool.py", "-x", "y"])


@pytest.mark.parametrize(
    ("text", "has"),
    [
        ("def main(argv): pass", True),
        ("async def main(argv): pass", True),
        ("def main(): pass\nmain()", False),
        ("class A:\n    def main(self): pass", False),
        ("print()", False),
        ("def main(*argv): pass", False),
    ],
)
def test_which_files_have_a_main(tmp_path: Path, text: str, has: bool) -> None:
    (tmp_path / "f.py").write_text(text)
    assert script.has_main(str(tmp_path / "f.py")) == has


def test_a_table_of_results(capsys: pytest.CaptureFixture[str]) -> None:
    """What the statuses tell is columns; numbers are added up."""
    good = Status.info("", {"file": "name/d/a", "words": 1200, "node": "n1", "seconds": 0.5})
    other = Status.info("", {"file": "name/d/b", "words": 300, "node": "n2", "seconds": 0.25})
    running._show([("name/d/a", good), ("name/d/b", other), ("name/d/c", Status.err("no such file"))], 1.25, False)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["FILE", "STATUS", "WORDS", "NODE", "SECONDS", "RESULT"]
    assert lines[1] == ["a", "OK", "1,200", "n1", "0.500"]
    assert lines[3] == ["c", "ERROR", "no", "such", "file"]
    assert lines[4] == ["total", "1.2", "s", "1,500", "0.750"]
    running._show([("name/d/a", Status.info("", 7)), ("name/d/b", Status.info("done"))], 1.0, False)
    assert [line.split()[2:] for line in capsys.readouterr().out.splitlines()[1:3]] == [["7"], ["done"]]


@pytest.mark.parametrize(("code", "exits"), [(0, 0), (3, 3), (-9, 137)])
def test_the_exit_code_of_a_command(code: int, exits: int) -> None:
    assert running._exit_code(Status.info("", {"exit_code": code})) == exits


def test_the_exit_code_of_a_command_that_never_ran(capsys: pytest.CaptureFixture[str]) -> None:
    assert running._exit_code(Status.crash("node lost")) == 1
    assert capsys.readouterr().err == "sigmaos: ERROR: node lost\n"


def test_which_files_are_meant(clnt: FakeClnt) -> None:
    clnt.files |= {f"name/dir/{name}": b"" for name in ("b.txt", "a.txt", "c.bin", ".hidden", "_SUCCESS")}
    clnt.files["name/dir/sub"] = None
    assert running._expanded(clnt, "name/dir/*.txt") == ["name/dir/b.txt", "name/dir/a.txt"]  # type: ignore[arg-type]
    assert len(running._expanded(clnt, "name/dir")) == 3  # type: ignore[arg-type]
    assert running._expanded(clnt, "name/f") == ["name/f"]  # type: ignore[arg-type]
    with pytest.raises(serr.NotFound, match="no file matches"):
        running._expanded(clnt, "name/dir/*.csv")  # type: ignore[arg-type]

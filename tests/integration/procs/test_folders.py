"""Programs of a folder that workers do not have: it is shipped to them, through Ray's control store (X-35)."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import pytest

from sigmaos_ray import Proc, SigmaClnt
from sigmaos_ray.testing.tstate import clnt_env

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sigmaos_ray.testing import Tstate

WAIT_S = 90.0
PARENT = """\
import os
from sigmaos_ray import Proc, SigmaClnt

def main():
    with SigmaClnt() as sc:
        child = Proc("shipped_program")
        sc.spawn(child)
        return [sc.wait_exit(child.pid).data, os.path.exists("data.txt")]
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory."""
    (tmp_path / "shipped_program.py").write_text("import shipped_helper\ndef main():\n    return shipped_helper.WHAT\n")
    (tmp_path / "shipped_helper.py").write_text("WHAT = 'first'\n")
    (tmp_path / "shipped_parent.py").write_text(PARENT)
    (tmp_path / "data.txt").write_text("")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def sc(tstate_all: Tstate, folder: Path) -> Iterator[SigmaClnt]:
    with SigmaClnt(clnt_env(tstate_all.instance)) as sc:
        yield sc


def result(sc: SigmaClnt, program: Any, **options: Any) -> Any:
    proc = Proc(program, **options)
    sc.spawn(proc)
    status = sc.wait_exit(proc.pid, WAIT_S)
    assert status.is_ok(), status
    return status.data


def test_a_program_of_the_working_directory(sc: SigmaClnt, folder: Path) -> None:
    """X-35: as it is when it is spawned; its children have it, too."""
    assert result(sc, "shipped_program") == "first"
    (folder / "shipped_helper.py").write_text("WHAT = 'the second'\n")
    assert result(sc, "shipped_program") == "the second"
    assert result(sc, "shipped_program", mcpu=100) == "the second"
    assert result(sc, "shipped_parent") == ["the second", True]


def test_a_folder_that_is_named(
    sc: SigmaClnt, folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """X-35."""
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    monkeypatch.setenv("SIGMAOS_WORKING_DIR", str(folder))
    assert result(sc, "shipped_program") == "first"


def test_a_function_of_the_folder(sc: SigmaClnt, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """X-35: its module is imported where it runs, as in any program."""
    monkeypatch.syspath_prepend(str(folder))
    assert result(sc, importlib.import_module("shipped_program").main) == "first"


def test_a_function_of_a_module_that_workers_lack(
    sc: SigmaClnt, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """X-35: by value, with what it uses of another one."""
    library = tmp_path_factory.mktemp("library")
    (library / "lacked_helper.py").write_text("WHAT = 'by value'\n")
    (library / "lacked_program.py").write_text("import lacked_helper\ndef main():\n    return lacked_helper.WHAT\n")
    monkeypatch.syspath_prepend(str(library))
    assert result(sc, importlib.import_module("lacked_program").main) == "by value"

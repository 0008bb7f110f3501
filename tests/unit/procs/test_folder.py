"""Folders of programs: what is shipped of them, and when (X-35)."""

from __future__ import annotations

import io
import os
import zipfile
from typing import TYPE_CHECKING

import msgspec
import pytest

from sigmaos_ray import config, serr
from sigmaos_ray.proc import folder as folders
from sigmaos_ray.proc.folder import ProgramFolder

if TYPE_CHECKING:
    from pathlib import Path


def put(directory: Path, **files: str) -> None:
    for name, text in files.items():
        file = directory / name.replace("__", "/").replace("_dot_", ".")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


def names(folder: ProgramFolder) -> list[str]:
    return zipfile.ZipFile(io.BytesIO(folder.package().data)).namelist()


def test_what_is_shipped(tmp_path: Path) -> None:
    """X-35."""
    put(tmp_path, a_dot_py="", pkg__b_dot_py="", pkg__c_dot_pyc="", _dot_env="secret", big__d_dot_bin="")
    put(tmp_path, venv__pyvenv_dot_cfg="", venv__e_dot_py="", _dot_gitignore="*.bin\n")
    (tmp_path / "loop").symlink_to(tmp_path)
    assert names(ProgramFolder(tmp_path)) == ["a.py", "pkg/b.py"]


def test_the_same_files_make_the_same_package(tmp_path: Path) -> None:
    for copy in ("one", "two"):
        put(tmp_path / copy, a_dot_py="print()")
    first, second = (ProgramFolder(tmp_path / copy).package().name for copy in ("one", "two"))
    assert first == second
    put(tmp_path / "two", a_dot_py="print(2)")
    assert ProgramFolder(tmp_path / "two").package().name != first


def test_which_programs_it_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, a_dot_py="", pkg____init___dot_py="")
    (tmp_path / "pkg").mkdir(exist_ok=True)
    (tmp_path / "pkg" / "__init__.py").write_text("")
    folder = ProgramFolder(tmp_path)
    assert folder.holds(["user.a", "a"], "")
    assert folder.holds(["pkg"], "")
    assert not folder.holds(["example"], "")
    assert folder.holds([], str(tmp_path / "pkg" / "x.py"))
    monkeypatch.setenv(folders.VARIABLE, str(tmp_path))
    named = ProgramFolder.present()
    assert named is not None
    assert named.holds(["example"], "")
    monkeypatch.setenv(folders.VARIABLE, str(tmp_path / "a.py"))
    with pytest.raises(serr.Inval, match="no directory"):
        ProgramFolder.present()


def test_one_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, data="x" * 100)
    small = msgspec.structs.replace(config.LOCAL.procs, package_bytes_max=99)
    monkeypatch.setattr(config, "current", lambda: msgspec.structs.replace(config.LOCAL, procs=small))
    with pytest.raises(serr.Inval, match=r"\.gitignore.*the largest: data"):
        ProgramFolder(tmp_path).package()


def test_a_name_that_no_package_can_hold(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"bad\xff.py")).touch()
    with pytest.raises(serr.Inval, match=r"bad\\udcff\.py.*\.gitignore"):
        ProgramFolder(tmp_path).package()
    (tmp_path / ".gitignore").write_text("bad*\n")
    assert names(ProgramFolder(tmp_path)) == []

"""The file commands: what they print, and what they do to both ends."""

from __future__ import annotations

import io
import json
import os
import sys
from typing import TYPE_CHECKING

from sigmaos_ray.cli.context import shown

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest
    from fakeclnt import FakeClnt
    from outcome import Outcome


def test_ls(sigmaos: Callable[..., Outcome], clnt: FakeClnt) -> None:
    assert sigmaos("ls") == (0, "dir/\nf\n", "")
    assert sigmaos("ls", "name/f").out == "f\n"
    assert sigmaos("ls", "-l").out.splitlines()[1].split() == ["dir", "0", "-", "dir"]


def test_ls_as_json(sigmaos: Callable[..., Outcome], clnt: FakeClnt) -> None:
    entries = json.loads(sigmaos("ls", "--json", "name/").out)
    assert [(entry["name"], entry["kind"], entry["length"]) for entry in entries] == [
        ("dir", "dir", 0),
        ("f", "file", 2),
    ]


def test_a_name_cannot_forge_output(sigmaos: Callable[..., Outcome], clnt: FakeClnt) -> None:
    clnt.files = {"name": None, "name/a\nb\x1b[2J": b""}
    assert sigmaos("ls").out == "a\\nb\\x1b[2J\n"
    assert shown("köln ☃") == "köln ☃"


def test_an_error_cannot_forge_output(sigmaos: Callable[..., Outcome], clnt: FakeClnt) -> None:
    for arguments in (["cat", "name/\x1b[2J"], ["ls", "--\x1b[2J"], ["get", "name/f", "/none/\x1b[2J"]):
        outcome = sigmaos(*arguments)
        assert "\\x1b[2J" in outcome.err
        assert outcome.err.isascii()
        assert outcome.err.removesuffix("\n").isprintable()


def test_cat_prints_bytes_in_order(sigmaos: Callable[..., Outcome], clnt: FakeClnt) -> None:
    clnt.files["name/g"] = b" there\n"
    assert sigmaos("cat", "name/f", "name/g") == (0, "hi there\n", "")


def test_an_error_names_the_path(sigmaos: Callable[..., Outcome], clnt: FakeClnt) -> None:
    sigmaos("cat", "name/none").failed_with(1, "file not found: name/none")
    sigmaos("mkdir", "name/dir").failed_with(1, "file exists: name/dir")


def test_put_and_get(sigmaos: Callable[..., Outcome], clnt: FakeClnt, tmp_path: Path) -> None:
    local = tmp_path / "local"
    local.write_bytes(b"\0\xff" * 1000)
    assert sigmaos("put", str(local), "name/put").code == 0
    assert clnt.files["name/put"] == local.read_bytes()
    assert sigmaos("get", "name/put", str(tmp_path / "back")).code == 0
    assert (tmp_path / "back").read_bytes() == local.read_bytes()


def test_local_files_may_have_any_name(sigmaos: Callable[..., Outcome], clnt: FakeClnt, tmp_path: Path) -> None:
    local = tmp_path / os.fsdecode(b"bad\xff")
    local.write_bytes(b"x")
    assert sigmaos("put", str(local), "name/put") == (0, "", "")
    assert sigmaos("get", "name/put", f"{local}-back") == (0, "", "")
    assert clnt.files["name/put"] == b"x"


def test_get_into_a_directory_keeps_the_name(sigmaos: Callable[..., Outcome], clnt: FakeClnt, tmp_path: Path) -> None:
    assert sigmaos("get", "name/f", str(tmp_path)).code == 0
    assert (tmp_path / "f").read_bytes() == b"hi"


def test_a_get_that_fails_leaves_nothing(sigmaos: Callable[..., Outcome], clnt: FakeClnt, tmp_path: Path) -> None:
    before = set(tmp_path.iterdir())
    sigmaos("get", "name/none", str(tmp_path / "x")).failed_with(1, "name/none")
    assert set(tmp_path.iterdir()) == before


def test_put_of_a_missing_file_does_not_touch_the_namespace(
    sigmaos: Callable[..., Outcome], clnt: FakeClnt, tmp_path: Path
) -> None:
    sigmaos("put", str(tmp_path / "none"), "name/new").failed_with(1, "No such file or directory")
    assert "name/new" not in clnt.files


def test_standard_input_and_output(
    sigmaos: Callable[..., Outcome], clnt: FakeClnt, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"from a pipe")))
    assert sigmaos("put", "-", "name/piped").code == 0
    assert sigmaos("get", "name/piped", "-").out == "from a pipe"


def test_rm_is_recursive_only_when_asked(sigmaos: Callable[..., Outcome], clnt: FakeClnt) -> None:
    clnt.files["name/dir/below"] = b""
    assert sigmaos("rm", "-r", "name/dir", "name/f").code == 0
    assert list(clnt.files) == ["name"]


def test_mkdir_with_parents(sigmaos: Callable[..., Outcome], clnt: FakeClnt) -> None:
    assert sigmaos("mkdir", "-p", "name/dir/a/b").code == 0
    assert sigmaos("mkdir", "-p", "name/dir/a/b").code == 0
    assert {"name/dir/a", "name/dir/a/b"} <= clnt.files.keys()


def test_stat(sigmaos: Callable[..., Outcome], clnt: FakeClnt) -> None:
    described = json.loads(sigmaos("stat", "--json", "name/f").out)
    assert (described["name"], described["length"], described["qid"]["version"]) == ("f", 2, 3)
    assert "length   2\n" in sigmaos("stat", "name/f").out


def test_mv(sigmaos: Callable[..., Outcome], clnt: FakeClnt) -> None:
    assert sigmaos("mv", "name/f", "name/g").code == 0
    assert clnt.files["name/g"] == b"hi"

"""``cp``, ``put``, ``get``, ``mv``: by the rules of ``cp``, on each server."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sigmaos_ray import serr

if TYPE_CHECKING:
    import subprocess

    from command import Sigmaos

    from sigmaos_ray import SigmaClnt

LARGE = os.urandom(1 << 10) * 3000
"""Of several messages."""

ux_alone = pytest.mark.parametrize("place", ["ux"], indirect=True)


def _failed(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """One line for each of ``words``, in order, and exit code 1."""
    assert done.returncode == 1, done
    lines = done.stderr.splitlines()
    assert len(lines) == len(words), lines
    for line, word in zip(lines, words, strict=True):
        assert line.startswith("sigmaos: ")
        assert word in line


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    directory = tmp_path / "d"
    (directory / "sub").mkdir(parents=True)
    (directory / "x").write_bytes(b"x")
    (directory / "sub/y").write_bytes(b"y")
    (directory / "link").symlink_to("x")
    return directory


def test_directories_there_and_back(sigmaos: Sigmaos, clnt: SigmaClnt, place: str, tree: Path, tmp_path: Path) -> None:
    """A target that is not there becomes the copy; into one that is there the copy goes, under its name."""
    assert sigmaos("put", "-r", str(tree), f"{place}/new").returncode == 0
    assert sigmaos("put", "-r", str(tree), f"{place}/new").returncode == 0
    for directory in (f"{place}/new", f"{place}/new/d"):
        assert clnt.get_file(f"{directory}/x") == clnt.get_file(f"{directory}/link") == b"x"
        assert clnt.get_file(f"{directory}/sub/y") == b"y"
    assert sigmaos("get", "-r", f"{place}/new/d", str(tmp_path)).returncode == 0
    assert sigmaos("get", "-r", f"{place}/new/d", str(tmp_path / "back")).returncode == 0
    for local in (tree, tmp_path / "back"):
        assert sorted(str(file.relative_to(local)) for file in local.rglob("*")) == ["link", "sub", "sub/y", "x"]
    assert (tmp_path / "back/sub/y").read_bytes() == b"y"


def test_copies_within_the_namespace(sigmaos: Sigmaos, clnt: SigmaClnt, place: str) -> None:
    clnt.makedirs(f"{place}/d/sub")
    clnt.put_file(f"{place}/d/sub/y", b"y")
    clnt.put_file(f"{place}/f", b"new")
    clnt.put_file(f"{place}/g", b"old and longer")
    assert sigmaos("cp", f"{place}/f", f"{place}/g").returncode == 0
    assert clnt.get_file(f"{place}/g") == b"new"
    assert sigmaos("cp", "-r", f"{place}/d", f"{place}/e").returncode == 0
    assert sigmaos("cp", "-r", f"{place}/f", f"{place}/d", f"{place}/e").returncode == 0
    assert clnt.get_file(f"{place}/e/sub/y") == clnt.get_file(f"{place}/e/d/sub/y") == b"y"
    assert clnt.get_file(f"{place}/e/f") == b"new"


def test_a_directory_is_no_file(sigmaos: Sigmaos, clnt: SigmaClnt, place: str, tmp_path: Path) -> None:
    """Nor is a server's name. One line each, nothing is made, and the rest is done."""
    clnt.makedirs(f"{place}/d/sub")
    clnt.put_file(f"{place}/d/f", b"here")
    clnt.put_file(f"{place}/f", b"f")
    for directory in (f"{place}/d", "name/ux/~local", "name/ux", "name"):
        _failed(sigmaos("cat", directory), f"is a directory: {directory}")
        _failed(sigmaos("get", directory, str(tmp_path)), "with -r")
        _failed(sigmaos("get", directory, "-"), f"is a directory: {directory}")
        _failed(sigmaos("cp", directory, f"{place}/copy"), "with -r")
    done = sigmaos("cat", f"{place}/d", f"{place}/f", f"{place}/none")
    _failed(done, f"{place}/d", f"{place}/none")
    assert done.stdout == "f"
    _failed(sigmaos("cp", "-r", f"{place}/d", f"{place}/f"), f"not a directory: {place}/f")
    clnt.makedirs(f"{place}/e/f/sub")
    clnt.put_file(f"{place}/e/f/sub/g", b"")
    _failed(sigmaos("cp", f"{place}/f", f"{place}/e"), f"is a directory: {place}/e/f")
    _failed(sigmaos("cp", f"{place}/f", f"{place}/none/"), f"not a directory: {place}/none/")
    _failed(sigmaos("cp", f"{place}/f", f"{place}/e", f"{place}/none"), f"not a directory: {place}/none")
    assert list(tmp_path.iterdir()) == []
    assert not {"copy", "none"} & {stat.name for stat in clnt.get_dir(place)}


def test_nothing_is_copied_onto_or_into_itself(sigmaos: Sigmaos, clnt: SigmaClnt, place: str) -> None:
    clnt.makedirs(f"{place}/d/sub")
    clnt.put_file(f"{place}/d/f", b"here")
    _failed(sigmaos("cp", f"{place}/d/f", f"{place}/d/f"), "is the same")
    _failed(sigmaos("cp", f"{place}/d/f", f"{place}/d"), "is the same")
    for target in (f"{place}/d/new", f"{place}/d"):
        _failed(sigmaos("cp", "-r", f"{place}/d", target), "itself, or below it")
    assert clnt.get_file(f"{place}/d/f") == b"here"


@pytest.mark.parametrize("place", ["named", "ux"], indirect=True)
def test_mv_goes_into_directories(sigmaos: Sigmaos, clnt: SigmaClnt, place: str) -> None:
    clnt.makedirs(f"{place}/d")
    for name in ("f", "g", "h"):
        clnt.put_file(f"{place}/{name}", name.encode())
    assert sigmaos("mv", f"{place}/f", f"{place}/d").returncode == 0
    assert sigmaos("mv", f"{place}/g", f"{place}/h", f"{place}/d/").returncode == 0
    assert [clnt.get_file(f"{place}/d/{name}") for name in ("f", "g", "h")] == [b"f", b"g", b"h"]
    assert sigmaos("mv", f"{place}/d", f"{place}/e").returncode == 0
    _failed(sigmaos("mv", f"{place}/none", f"{place}/e"), f"{place}/none")
    _failed(sigmaos("mv", f"{place}/e/f", f"{place}/e/g", f"{place}/e/h"), "not a directory")


@pytest.mark.parametrize("place", ["named", "ux"], indirect=True)
def test_links(sigmaos: Sigmaos, clnt: SigmaClnt, place: str) -> None:
    """Below a directory that is copied they are links again; one that is named is followed, also to write."""
    clnt.makedirs(f"{place}/d")
    clnt.put_file(f"{place}/f", b"f")
    clnt.symlink(f"{place}/f", f"{place}/d/link")
    assert sigmaos("cat", f"{place}/d/link").stdout == "f"
    assert sigmaos("cp", "-r", f"{place}/d", f"{place}/e").returncode == 0
    assert clnt.stat(f"{place}/e/link").is_symlink
    assert sigmaos("cp", f"{place}/d/link", f"{place}/copy").returncode == 0
    assert not clnt.stat(f"{place}/copy").is_symlink
    clnt.put_file(f"{place}/g", b"g")
    assert sigmaos("cp", f"{place}/g", f"{place}/e/link").returncode == 0
    assert clnt.get_file(f"{place}/f") == b"g"
    assert clnt.stat(f"{place}/e/link").is_symlink
    clnt.symlink(place, f"{place}/d/up")
    assert sigmaos("rm", "-r", f"{place}/d").returncode == 0
    assert clnt.get_file(f"{place}/f") == b"g"


def test_a_ring_of_local_links(sigmaos: Sigmaos, clnt: SigmaClnt, place: str, tree: Path) -> None:
    """The rest is put."""
    (tree / "sub/up").symlink_to("..")
    _failed(sigmaos("put", "-r", str(tree), f"{place}/d"), "leads back up")
    assert clnt.get_file(f"{place}/d/sub/y") == b"y"


@ux_alone
def test_large_files_appear_whole(sigmaos: Sigmaos, clnt: SigmaClnt, place: str, tmp_path: Path) -> None:
    """With the permissions of what they replace, through links, and with nothing left beside."""
    clnt.put_file(f"{place}/f", b"old", 0o640)
    clnt.symlink(f"{place}/f", f"{place}/link")
    (tmp_path / "large").write_bytes(LARGE)
    assert sigmaos("put", str(tmp_path / "large"), f"{place}/link").returncode == 0
    assert clnt.get_file(f"{place}/f") == LARGE
    assert clnt.stat(f"{place}/f").mode & 0o777 == 0o640
    long = "x" * 255
    assert sigmaos("put", str(tmp_path / "large"), f"{place}/{long}").returncode == 0
    assert sigmaos("get", f"{place}/{long}", str(tmp_path)).returncode == 0
    assert (tmp_path / long).read_bytes() == LARGE
    assert [stat.name for stat in clnt.get_dir(place)] == ["f", "keep", "link", long]


def test_what_breaks_off_leaves_the_old_file(
    sigmaos: Sigmaos, clnt: SigmaClnt, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clnt.put_file(f"{place}/f", b"old")
    (tmp_path / "large").write_bytes(LARGE)

    class BreaksOff:
        def __init__(self) -> None:
            self.parts = [LARGE[: 1 << 20], LARGE[: 1 << 19]]

        def read(self, _size: int = -1) -> bytes:
            if self.parts:
                return self.parts.pop(0)
            raise OSError(5, "Input/output error", "large")

        def __enter__(self) -> BreaksOff:
            return self

        def __exit__(self, *_: object) -> None:
            return None

    from sigmaos_ray.cli.trees import LocalTree

    monkeypatch.setattr(LocalTree, "open", lambda _self, _name: BreaksOff())
    done = sigmaos("put", str(tmp_path / "large"), f"{place}/f")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert clnt.get_file(f"{place}/f") == b"old"
    assert [stat.name for stat in clnt.get_dir(place)] == ["f", "keep"]


def test_roots_are_safe(sigmaos: Sigmaos, clnt: SigmaClnt, bucket: str) -> None:
    clnt.put_file("name/ux/~local/precious", b"x")
    clnt.put_file(f"name/s3/~local/{bucket}/precious", b"x")
    (server,) = [stat.name for stat in clnt.get_dir("name/ux")]
    for pn in (
        *("name", "name/", "name/.", "name/ux/..", "name/ux", "name/ux/", "name/ux/.", "name/s3/", "."),
        *("name/ux/~local", "name/ux/~local/", "name/ux/~local/.", "name/ux/~any", "name/ux/~local/d/.."),
        *(f"name/ux/{server}", f"name/ux/{server}/", "name/s3/~local", "name/s3/~local/", f"name/s3/~local/{bucket}"),
    ):
        for verb in (["rm"], ["rm", "-r"]):
            done = sigmaos(*verb, pn)
            assert (done.returncode, done.stderr.count("\n")) == (1, 1), (verb, pn, done)
    assert clnt.get_file("name/ux/~local/precious") == b"x"
    assert clnt.get_file(f"name/s3/~local/{bucket}/precious") == b"x"
    for old, new in (("name/ux", "name/u"), (f"name/ux/{server}", "name/u"), ("name/ux/~local", "name/u")):
        _failed(sigmaos("mv", old, new), old)
    with pytest.raises(serr.NotFound):
        clnt.stat("name/u")


@pytest.mark.parametrize("place", ["named", "ux"], indirect=True)
def test_mkdir_with_parents(sigmaos: Sigmaos, clnt: SigmaClnt, place: str) -> None:
    for _ in range(2):
        assert sigmaos("mkdir", "-p", f"{place}/a/b/c").returncode == 0
    clnt.put_file(f"{place}/f", b"")
    _failed(sigmaos("mkdir", "-p", f"{place}/f"), f"{place}/f")
    _failed(sigmaos("mkdir", "-p", f"{place}/f/g"), f"{place}/f")
    done = sigmaos("mkdir", f"{place}/a", f"{place}/new")
    _failed(done, f"file exists: {place}/a")
    assert clnt.is_dir(f"{place}/new")


def test_the_users_own_files_stay_his(sigmaos: Sigmaos, clnt: SigmaClnt, tmp_path: Path) -> None:
    clnt.put_file("name/ux/~local/large", LARGE)
    for name in ("data.partial", "data"):
        (tmp_path / name).write_bytes(b"his")
    (tmp_path / "data").chmod(0o640)
    (tmp_path / "link").symlink_to("data")
    assert sigmaos("get", "name/ux/~local/large", str(tmp_path / "link")).returncode == 0
    assert (tmp_path / "data").read_bytes() == LARGE
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o640
    _failed(sigmaos("get", "name/ux/~local/none", str(tmp_path / "data")), "none")
    assert (tmp_path / "data").read_bytes() == LARGE
    assert (tmp_path / "data.partial").read_bytes() == b"his"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["data", "data.partial", "link"]

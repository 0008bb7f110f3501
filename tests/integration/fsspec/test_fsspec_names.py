"""Names through fsspec: directories, links, unions, removing and moving."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fssite import KERNEL_ID

from sigmaos_ray import serr
from sigmaos_ray.fsspec import SigmaFileSystem

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fssite import Site


@pytest.fixture
def strict(site: Site) -> Iterator[SigmaFileSystem]:
    """A file system that makes no directory of its own accord."""
    fs = SigmaFileSystem(state_file=str(site.state_file), auto_mkdir=False)
    yield fs
    fs.close()


@pytest.fixture
def on_ux(session_fs: SigmaFileSystem) -> Iterator[str]:
    path = "name/ux/~local/links"
    session_fs.mkdir(path)
    yield path
    session_fs.rm(path, recursive=True)


def test_what_is_at_a_name(session_fs: SigmaFileSystem, place: str) -> None:
    fs, path = session_fs, f"{place}/f"
    fs.pipe_file(path, b"data")
    fs.mkdir(f"{place}/empty")
    info = fs.info(f"sigma://{path}/")
    assert (info["name"], info["size"], info["type"]) == (path, 4, "file")
    assert fs.ls(place) == [fs.info(f"{place}/empty"), info]
    assert fs.ls(path) == [info]
    assert fs.ls(f"{place}/empty") == []
    assert fs.isfile(path)
    assert fs.isdir(f"{place}/empty")
    for missing in (f"{place}/none", f"{place}/none/none", f"{path}/below"):
        assert not fs.exists(missing)
        assert not fs.isdir(missing)
    for call in (fs.info, fs.ls, fs.rm, fs.rmdir, fs.cat_file, fs.modified):
        with pytest.raises(FileNotFoundError) as raised:
            call(f"{place}/none")
        assert isinstance(raised.value, serr.NotFound)


def test_the_root(session_fs: SigmaFileSystem) -> None:
    fs = session_fs
    assert fs.ls("sigma://", detail=False) == ["name"]
    assert fs.glob("*") == ["name"]
    assert {"name/s3", "name/ux"} <= set(fs.ls("name", detail=False))
    assert fs.isdir("")
    fs.makedirs("name", exist_ok=True)
    for refused in (fs.mkdir, fs.rm, fs.makedirs):
        with pytest.raises((serr.Exists, serr.Inval)):
            refused("name")


def test_directories(strict: SigmaFileSystem, place: str, server: str) -> None:
    fs = strict
    fs.makedirs(f"{place}/a/b/c")
    with pytest.raises(FileExistsError):
        fs.makedirs(f"{place}/a/b")
    fs.makedirs(f"{place}/a/b", exist_ok=True)
    fs.pipe_file(f"{place}/f", b"")
    for call in (lambda: fs.makedirs(f"{place}/f", exist_ok=True), lambda: fs.mkdir(f"{place}/f")):
        with pytest.raises(FileExistsError):
            call()
    with pytest.raises(OSError, match="not empty"):
        fs.rmdir(f"{place}/a")
    with pytest.raises(NotADirectoryError):
        fs.rmdir(f"{place}/f")
    fs.rmdir(f"{place}/a/b/c")
    assert list(fs.walk(place)) == [(place, ["a"], ["f"]), (f"{place}/a", ["b"], []), (f"{place}/a/b", [], [])]
    with pytest.raises(FileNotFoundError):
        fs.mkdir(f"{place}/x/y", create_parents=False)
    if server == "s3":  # whose prefixes come with their first object
        fs.pipe_file(f"{place}/x/y", b"x")
        assert fs.cat(f"{place}/x/y") == b"x"
        return
    with pytest.raises(FileNotFoundError):
        fs.pipe_file(f"{place}/x/y", b"")
    with pytest.raises(FileNotFoundError), fs.open(f"{place}/x/y", "wb") as file:
        file.write(b"x")


def test_a_walk_that_is_pruned(session_fs: SigmaFileSystem, place: str) -> None:
    fs = session_fs
    fs.pipe({f"{place}/{name}": b"" for name in ("a/b/f", "c/f", "d/f")})
    seen = []
    for path, dirs, _ in fs.walk(place):
        seen.append(path)
        dirs[:] = [name for name in dirs if name != "c"]
    assert seen == [place, f"{place}/a", f"{place}/a/b", f"{place}/d"]
    assert [path for path, _, _ in fs.walk(place, topdown=False, maxdepth=2)] == [
        f"{place}/a",
        f"{place}/c",
        f"{place}/d",
        place,
    ]
    assert fs.find(place, maxdepth=2) == [f"{place}/c/f", f"{place}/d/f"]
    assert fs.glob(f"{place}/**/f") == [f"{place}/a/b/f", f"{place}/c/f", f"{place}/d/f"]
    assert list(fs.walk(f"{place}/none")) == [(f"{place}/none", [], [])]
    with pytest.raises(FileNotFoundError):
        list(fs.walk(f"{place}/none", on_error="raise"))


def test_unions_and_endpoints_are_directories(session_fs: SigmaFileSystem, on_ux: str) -> None:
    fs = session_fs
    fs.pipe_file(f"{on_ux}/f", b"x")
    assert fs.ls(on_ux, detail=False) == [f"{on_ux}/f"]
    listed = {entry["name"]: entry["type"] for entry in fs.ls("name/ux")}
    assert listed == {f"name/ux/{KERNEL_ID}": "directory"}
    assert fs.isdir("name/ux/~any")
    assert fs.glob("name/ux/*/links/f") == [f"name/ux/{KERNEL_ID}/links/f"]
    for path in ("name/ux/~local", "name/ux/~any/"):
        with pytest.raises(serr.Inval):
            fs.rm(path, recursive=True)
    assert fs.exists(f"{on_ux}/f")


def test_links(session_fs: SigmaFileSystem, on_ux: str) -> None:
    fs = session_fs
    fs.pipe({f"{on_ux}/dir/f": b"data", f"{on_ux}/other/g": b""})
    fs.clnt.symlink(f"{on_ux}/dir", f"{on_ux}/dir/up")
    fs.clnt.symlink(f"{on_ux}/dir/f", f"{on_ux}/tofile")
    fs.clnt.symlink(f"{on_ux}/nowhere", f"{on_ux}/broken")
    kinds = {entry["name"]: (entry["type"], entry.get("islink", False)) for entry in fs.ls(on_ux)}
    assert kinds == {
        f"{on_ux}/broken": ("link", True),
        f"{on_ux}/dir": ("directory", False),
        f"{on_ux}/other": ("directory", False),
        f"{on_ux}/tofile": ("file", True),
    }
    assert fs.cat_file(f"{on_ux}/tofile") == b"data"
    assert fs.size(f"{on_ux}/tofile") == 4
    assert not fs.exists(f"{on_ux}/broken")
    assert fs.find(f"{on_ux}/dir") == [f"{on_ux}/dir/f"]
    assert f"{on_ux}/dir/up/f" in fs.glob(f"{on_ux}/dir/*/*")
    fs.rm([f"{on_ux}/dir/up", f"{on_ux}/tofile", f"{on_ux}/broken"], recursive=True)
    assert fs.find(on_ux) == [f"{on_ux}/dir/f", f"{on_ux}/other/g"]


def test_removing(session_fs: SigmaFileSystem, place: str) -> None:
    fs = session_fs
    fs.pipe({f"{place}/{name}": b"" for name in ("a/b/f", "a/g", "c1", "c2", "d")})
    with pytest.raises(OSError, match="not empty"):
        fs.rm(f"{place}/a")
    fs.rm([f"{place}/a", f"{place}/a/b", f"{place}/c?"], recursive=True)
    assert fs.find(place, withdirs=True) == [place, f"{place}/d"]
    with pytest.raises(FileNotFoundError):
        fs.rm(f"{place}/c?")
    fs.makedirs(f"{place}/x/y")
    fs.rm([f"{place}/x", f"{place}/x/y"])
    fs.rm_file(f"{place}/d")
    assert fs.ls(place) == []


def test_moving(session_fs: SigmaFileSystem, place: str) -> None:
    fs = session_fs
    fs.pipe({f"{place}/f": b"f", f"{place}/dir/sub/g": b"g", f"{place}/into/old": b""})
    fs.mv(f"{place}/f", f"{place}/f2")
    fs.mv(f"{place}/f2", f"{place}/into")
    fs.mv(f"{place}/dir", f"{place}/moved")
    fs.mv(f"{place}/moved", f"{place}/new/")
    fs.mv(f"{place}/into/f*", f"{place}/globbed/")
    assert fs.cat(place, recursive=True) == {
        f"{place}/globbed/f2": b"f",
        f"{place}/into/old": b"",
        f"{place}/new/moved/sub/g": b"g",
    }
    assert not fs.exists(f"{place}/moved")
    fs.mv(f"{place}/new", f"{place}/new")
    with pytest.raises(ValueError, match="lies in"):
        fs.mv(f"{place}/new", f"{place}/new/moved")
    with pytest.raises(FileNotFoundError):
        fs.mv(f"{place}/none", f"{place}/f3")
    assert fs.exists(f"{place}/new/moved/sub/g")


def test_moving_across_servers(session_fs: SigmaFileSystem, place: str) -> None:
    fs = session_fs
    for number, target in enumerate(("name", "name/ux/~local", "name/s3/~local/fsspec")):
        fs.pipe({f"{place}/dir/sub/f": b"f", f"{place}/g": b"g"})
        for name in ("dir", "g"):
            fs.mv(f"{place}/{name}", f"{target}/moved{number}/{name}")
        below = f"{target}/moved{number}"
        assert fs.cat(below, recursive=True) == {f"{below}/dir/sub/f": b"f", f"{below}/g": b"g"}
        assert fs.ls(place) == []
        fs.rm(below, recursive=True)


ODD = ("a?", "a*", "[ab]")


def test_names_that_look_like_patterns(session_fs: SigmaFileSystem, place: str, tmp_path: Path) -> None:
    """The file of that name is meant, where there is one, and no other."""
    fs = session_fs
    plain = {f"{place}/{name}": name.encode() for name in ("ab", "a", "b")}
    odd = {f"{place}/{name}": name.encode() for name in ODD}
    fs.pipe({**plain, **odd})
    for path, data in odd.items():
        assert fs.cat(path) == fs.cat_file(path) == data
        assert fs.cat([path]) == {path: data}
        assert fs.expand_path(path) == [path]
        fs.get(path, f"{tmp_path}/got")
        assert (tmp_path / "got").read_bytes() == data
        fs.put(f"{tmp_path}/got", f"{place}/put/{data.decode()}")
        fs.cp(path, f"{place}/copy")
        assert fs.cat_file(f"{place}/copy") == data
        fs.mv(path, f"{place}/moved")
        assert fs.cat_file(f"{place}/moved") == data
        fs.mv(f"{place}/moved", path)
    fs.rm(f"{place}/copy")
    listed = [path for path in fs.ls(place, detail=False) if path in {**plain, **odd}]
    assert fs.cat(listed) == {**plain, **odd}
    fs.rm(list(odd))
    assert sorted(fs.find(f"{place}/put")) == sorted(f"{place}/put/{name}" for name in ODD)
    fs.rm(f"{place}/put", recursive=True)
    assert fs.cat(f"{place}/?*") == plain
    fs.rm(f"{place}/a?")  # a pattern now
    assert fs.ls(place, detail=False) == [f"{place}/a", f"{place}/b"]


def test_directories_that_look_like_patterns(session_fs: SigmaFileSystem, place: str, tmp_path: Path) -> None:
    fs = session_fs
    fs.pipe({f"{place}/d[1]/x*": b"1", f"{place}/d1/x": b"other"})
    fs.get(f"{place}/d[1]", f"{tmp_path}/got", recursive=True)
    assert (tmp_path / "got" / "x*").read_bytes() == b"1"
    fs.put(f"{tmp_path}/got/x*", f"{place}/back/")
    fs.cp(f"{place}/d[1]", f"{place}/copy", recursive=True)
    fs.mv(f"{place}/d[1]", f"{place}/e", recursive=True)
    names = fs.find(place)
    assert names == [f"{place}/{name}" for name in ("back/x*", "copy/x*", "d1/x", "e/x*")]

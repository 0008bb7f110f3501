"""Files of the user: replaced whole or not at all, and no other file of his is touched."""

from __future__ import annotations

import errno
import os
import stat
import threading
from pathlib import Path

import pytest

from sigmaos_ray import localfile
from sigmaos_ray.localfile import LocalWriter, replacing


@pytest.fixture(params=["nameless", "named"])
def _way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """On file systems with files that have no name, and on others."""
    if request.param == "nameless":
        return
    really_open = os.open

    def refuse(path: str, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, "none here")
        return really_open(path, flags, mode)

    monkeypatch.setattr(localfile.os, "open", refuse)


pytestmark = pytest.mark.usefixtures("_way")


def _write(path: Path, data: bytes) -> None:
    with replacing(path) as file:
        file.write(data)


def _fail_half_way(path: Path) -> None:
    with replacing(path) as file:
        file.write(b"half")
        file.flush()
        raise KeyboardInterrupt


def test_a_new_file_has_the_permissions_that_new_files_have(tmp_path: Path) -> None:
    _write(tmp_path / "f", b"new")
    (tmp_path / "plain").write_bytes(b"")
    assert (tmp_path / "f").read_bytes() == b"new"
    assert (tmp_path / "f").stat().st_mode == (tmp_path / "plain").stat().st_mode
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("mode", [0o600, 0o755, 0o666])
def test_permissions_are_kept(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "f"
    file.write_bytes(b"old and longer")
    file.chmod(mode)
    _write(file, b"new")
    assert file.read_bytes() == b"new"
    assert stat.S_IMODE(file.stat().st_mode) == mode


def test_what_fails_leaves_what_was_there(tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_bytes(b"old")
    for target in (file, tmp_path / "new"):
        with pytest.raises(KeyboardInterrupt):
            _fail_half_way(target)
    assert file.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [file]


def test_no_file_beside_is_touched(tmp_path: Path) -> None:
    """Whatever its name looks like."""
    for name in ("f.partial", "f.tmp", "f~", ".f.swp"):
        (tmp_path / name).write_bytes(b"his")
    (tmp_path / "link.partial").symlink_to(tmp_path / "f~")
    _write(tmp_path / "f", b"new")
    _write(tmp_path / "link", b"new")
    assert {(tmp_path / name).read_bytes() for name in ("f.partial", "f.tmp", "f~", ".f.swp")} == {b"his"}
    assert (tmp_path / "link.partial").is_symlink()


def test_a_name_of_255_bytes(tmp_path: Path) -> None:
    for name in ("x" * 255, "é" * 127 + "x"):
        _write(tmp_path / name, b"long")
        _write(tmp_path / name, b"again")
        assert (tmp_path / name).read_bytes() == b"again"


@pytest.mark.parametrize("is_there", [True, False])
def test_a_link_stays_and_its_target_is_written(tmp_path: Path, is_there: bool) -> None:
    (tmp_path / "d").mkdir()
    target = tmp_path / "d/target"
    if is_there:
        target.write_bytes(b"old")
    (tmp_path / "link").symlink_to("d/target")
    (tmp_path / "link-to-link").symlink_to("link")
    _write(tmp_path / "link-to-link", b"new")
    assert target.read_bytes() == b"new"
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "link-to-link").is_symlink()


def test_a_file_of_several_names_stays_one_file(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"old and longer")
    os.link(tmp_path / "f", tmp_path / "g")
    with pytest.raises(KeyboardInterrupt):
        _fail_half_way(tmp_path / "f")
    assert (tmp_path / "g").read_bytes() == b"old and longer"
    _write(tmp_path / "f", b"new")
    assert (tmp_path / "g").read_bytes() == b"new"


def test_a_pipe_stays_one_and_gets_the_data(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    _write(tmp_path / "pipe", b"through")
    reader.join()
    assert got == [b"through"]
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_a_device(tmp_path: Path) -> None:
    _write(Path("/dev/null"), b"x")
    (tmp_path / "null").symlink_to("/dev/null")
    _write(tmp_path / "null", b"x")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    with pytest.raises(OSError, match="No space left"):
        _write(Path("/dev/full"), b"x")


def test_what_cannot_be_written_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "f").write_bytes(b"")
    (tmp_path / "ring").symlink_to("ring")
    for name, kind in (
        ("d", IsADirectoryError),
        ("none/f", FileNotFoundError),
        ("f/g", NotADirectoryError),
        ("ring", OSError),
        ("x" * 256, OSError),
    ):
        with pytest.raises(kind) as caught:
            LocalWriter(tmp_path / name)
        assert caught.value.filename == str(tmp_path / name), "the name that the user gave"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["d", "f", "ring"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write all")
def test_a_file_that_may_not_be_written_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"old")
    (tmp_path / "f").chmod(0o444)
    with pytest.raises(PermissionError):
        LocalWriter(tmp_path / "f")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write all")
def test_a_directory_that_takes_no_new_files(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"old and longer")
    tmp_path.chmod(0o555)
    try:
        _write(tmp_path / "f", b"new")
    finally:
        tmp_path.chmod(0o755)
    assert (tmp_path / "f").read_bytes() == b"new"


def test_a_secret_is_its_owners_alone(tmp_path: Path) -> None:
    """Also in the place of a file that others could read."""
    (tmp_path / "old").write_bytes(b"old")
    (tmp_path / "old").chmod(0o644)
    (tmp_path / "link").symlink_to("old")
    for name in ("new", "link"):
        with replacing(tmp_path / name, is_secret=True) as file:
            file.write(b"secret")
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in ("new", "old")] == [0o600, 0o600]
    assert (tmp_path / "link").is_symlink()

"""Files through fsspec, on every server: what is read, written, appended, changed in place, and dropped."""

from __future__ import annotations

import contextlib
import gc
import os
import pickle
from typing import TYPE_CHECKING

import pytest

from sigmaos_ray import serr
from sigmaos_ray.fsspec import transfer

if TYPE_CHECKING:
    from pathlib import Path

    from sigmaos_ray.fsspec import SigmaFileSystem

ABC = bytes(range(256))
LARGE = os.urandom(1 << 10) * 5_000
"""Of more than one message, and more than one part of an upload."""

large_files = pytest.mark.parametrize("server", ["ux", "s3"])
"""named keeps files of up to 1 MiB."""


def test_ranges(session_fs: SigmaFileSystem, place: str) -> None:
    fs, path = session_fs, f"{place}/abc"
    fs.pipe_file(path, ABC)
    limits = (None, 0, 1, 5, 255, 256, 300, -1, -5, -256, -300)
    for start in limits:
        assert [fs.cat_file(path, start, end) for end in limits] == [ABC[start:end] for end in limits]
    assert fs.cat_ranges([path, path, f"{place}/none"], [0, 7, 0], [3, None, 1])[:2] == [ABC[:3], ABC[7:]]
    assert fs.cat_ranges([path, path], [0, 7], [3, None], max_gap=4) == [ABC[:3], ABC[7:]]
    assert fs.head(path, 3) == ABC[:3]
    assert fs.tail(path, 3) == ABC[-3:]
    assert fs.read_block(path, 10, 5) == ABC[10:15]


def test_ranges_that_cannot_be_read(session_fs: SigmaFileSystem, place: str) -> None:
    fs = session_fs
    fs.pipe_file(f"{place}/abc", ABC)
    results = fs.cat_ranges([f"{place}/abc", f"{place}/none"], 0, 2)
    assert results[0] == ABC[:2]
    assert isinstance(results[1], FileNotFoundError)
    with pytest.raises(FileNotFoundError):
        fs.cat_ranges([f"{place}/none"], 0, 2, on_error="raise")
    with pytest.raises(ValueError, match="2 paths, 1 ranges"):
        fs.cat_ranges([f"{place}/abc"] * 2, [0], [1])
    with pytest.raises(FileNotFoundError):
        fs.cat_file(f"{place}/none", 0, 2)


def test_many_files_at_once(session_fs: SigmaFileSystem, place: str, server: str) -> None:
    fs = session_fs
    count = 20 if server == "s3" else 1000  # an S3 that is emulated takes its time
    files = {f"{place}/f{number:03}": str(number).encode() for number in range(count)}
    fs.pipe(files)
    assert fs.cat(list(files)) == files
    assert fs.cat(f"{place}/f00?") == {name: data for name, data in files.items() if "/f00" in name}
    assert fs.cat(place, recursive=True) == files
    assert fs.find(place) == sorted(files)
    assert fs.du(place) == sum(map(len, files.values()))
    wanted = [*files, f"{place}/none"]
    with pytest.raises(FileNotFoundError):
        fs.cat(wanted)
    assert fs.cat(wanted, on_error="omit") == files
    assert isinstance(fs.cat(wanted, on_error="return")[f"{place}/none"], serr.NotFound)


def test_a_file_open_for_reading(session_fs: SigmaFileSystem, place: str) -> None:
    fs, path = session_fs, f"{place}/lines"
    fs.pipe_file(path, b"one\ntwo\nthree")
    with fs.open(path) as file:
        assert (file.size, file.path, file.mode, file.full_name) == (13, path, "rb", f"sigma://{path}")
        assert file.readable()
        assert not file.writable()
        assert file.readline() == b"one\n"
        again = pickle.loads(pickle.dumps(file))
        assert (again.tell(), again.read()) == (4, b"two\nthree")
        assert file.seek(-5, 2) == 8
        assert file.read() == b"three"
        with pytest.raises(OSError, match="write"):
            file.write(b"x")
    with fs.open(path, "r") as text:
        assert list(text) == ["one\n", "two\n", "three"]
    with fs.open(path, cache_type="readahead") as cached:
        assert cached.read(3) == b"one"
    for wrong, error in ((f"{place}/none", FileNotFoundError), (place, IsADirectoryError)):
        with pytest.raises(error):
            fs.open(wrong)


@large_files
def test_a_large_file(session_fs: SigmaFileSystem, place: str) -> None:
    fs, path = session_fs, f"{place}/large"
    with fs.open(path, "wb") as file:
        for start in range(0, len(LARGE), 300_000):
            file.write(LARGE[start : start + 300_000])
        assert file.tell() == len(LARGE)
    assert fs.cat_file(path) == LARGE
    assert fs.cat_file(path, 1_000_000, 4_000_000) == LARGE[1_000_000:4_000_000]
    with fs.open(path) as file:
        assert file.read() == LARGE
        assert file.seek(2_500_000) == 2_500_000
        assert file.read(100_000) == LARGE[2_500_000:2_600_000]
        assert file.read(3_000_000) == LARGE[2_600_000:]
        assert file.read(1) == b""
        file.seek(17)
        assert file.read(2_000_000) == LARGE[17:2_000_017]
    with fs.open(path) as file:
        assert b"".join(iter(lambda: file.read(70_001), b"")) == LARGE


@large_files
def test_large_files_from_and_to_disk(session_fs: SigmaFileSystem, place: str, tmp_path: Path) -> None:
    fs = session_fs
    (tmp_path / "here").write_bytes(LARGE)
    fs.put_file(str(tmp_path / "here"), f"{place}/dir/there")
    fs.cp_file(f"{place}/dir/there", f"{place}/copy")
    fs.get_file(f"{place}/copy", str(tmp_path / "new" / "back"))
    assert (tmp_path / "new" / "back").read_bytes() == LARGE
    with (tmp_path / "open").open("wb") as file:
        fs.get_file(f"{place}/copy", file)
    assert (tmp_path / "open").read_bytes() == LARGE
    with pytest.raises(FileExistsError):
        fs.put_file(str(tmp_path / "here"), f"{place}/copy", mode="create")
    with pytest.raises(FileNotFoundError):
        fs.get_file(f"{place}/none", str(tmp_path / "none"))
    assert not (tmp_path / "none").exists()


@large_files
def test_the_users_own_files_stay_his(
    session_fs: SigmaFileSystem, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a download replaces keeps its mode, and a link stays one; one that breaks off leaves what was there."""
    fs = session_fs
    fs.pipe_file(f"{place}/large", LARGE)
    fs.pipe_file(f"{place}/small", b"small")
    here, link = tmp_path / "here", tmp_path / "link"
    here.write_bytes(b"old")
    here.chmod(0o640)
    link.symlink_to(here)
    for name, data in (("large", LARGE), ("small", b"small")):
        fs.get_file(f"{place}/{name}", str(link))
        assert (here.read_bytes(), here.stat().st_mode & 0o777, link.is_symlink()) == (data, 0o640, True)

    async def break_off(*_: object) -> None:
        raise serr.IOErr("half-way")

    monkeypatch.setattr(transfer, "download_to", break_off)
    with pytest.raises(serr.IOErr):
        fs.get_file(f"{place}/large", str(here))
    assert here.read_bytes() == b"small"
    assert sorted(tmp_path.iterdir()) == [here, link]


@large_files
def test_a_transaction_over_a_long_name(session_fs: SigmaFileSystem, place: str) -> None:
    fs = session_fs
    path = f"{place}/{'x' * 255}"
    with fs.transaction, fs.open(path, "wb") as file:
        file.write(LARGE)
    assert fs.cat_file(path) == LARGE
    assert [entry["name"] for entry in fs.ls(place)] == [path]


def test_a_copy_onto_itself_is_refused(session_fs: SigmaFileSystem, site: object) -> None:
    fs = session_fs
    fs.pipe_file("name/ux/~local/itself", LARGE)
    with pytest.raises(serr.Inval, match="same file"):
        fs.cp_file("name/ux/~local/itself", "name/ux/~any/itself")
    fs.cp_file("name/ux/~local/itself", "name/ux/~local/itself")
    assert fs.cat_file("name/ux/~local/itself") == LARGE
    fs.rm("name/ux/~local/itself")


def test_what_is_written_shows_at_the_close(session_fs: SigmaFileSystem, place: str) -> None:
    fs, path = session_fs, f"{place}/f"
    fs.pipe_file(path, b"old")
    with fs.open(path, "wb") as file:
        file.write(b"ne")
        file.flush()
        assert fs.cat_file(path) == b"old"
        file.write(memoryview(b"w"))
    assert fs.cat_file(path) == b"new"
    with fs.open(path, "w", encoding="latin-1") as text:
        text.write("t\xe9xt")
    assert fs.read_text(path, encoding="latin-1") == "t\xe9xt"
    with fs.open(path, "wb", compression="gzip") as file:
        file.write(b"zipped")
    with fs.open(path, "rb", compression="gzip") as file:
        assert file.read() == b"zipped"
    with fs.open(f"{path}.bz2", "w", compression="infer") as text:
        text.write("squeezed")
    with fs.open(f"{path}.bz2", "r", compression="infer") as text:
        assert text.read() == "squeezed"
    with pytest.raises(ValueError, match="closed"):
        file.write(b"late")


@pytest.mark.parametrize("compression", [None, "gzip"])
@pytest.mark.parametrize("mode", ["wb", "w"])
def test_a_block_that_raises_drops(session_fs: SigmaFileSystem, place: str, mode: str, compression: str | None) -> None:
    fs, path = session_fs, f"{place}/f"
    fs.pipe_file(path, b"old")
    with contextlib.suppress(ZeroDivisionError), fs.open(path, mode, compression=compression) as file:
        file.write(b"new" if mode == "wb" else "new")
        raise ZeroDivisionError
    assert fs.cat_file(path) == b"old"


def test_a_writer_that_nobody_closes(session_fs: SigmaFileSystem, place: str) -> None:
    def forget() -> None:
        session_fs.open(f"{place}/f", "wb").write(b"x")
        gc.collect()

    with pytest.warns(ResourceWarning, match="was not closed and is lost"):
        forget()
    assert session_fs.ls(place) == []


def test_exclusive(session_fs: SigmaFileSystem, place: str) -> None:
    fs, path = session_fs, f"{place}/f"
    with fs.open(path, "xb") as file:
        file.write(b"mine")
    with pytest.raises(FileExistsError):
        fs.open(path, "x")
    with pytest.raises(FileExistsError):
        fs.pipe_file(path, b"yours", mode="create")
    assert fs.cat_file(path) == b"mine"


@pytest.mark.parametrize("server", ["named", "ux"])
def test_appending_and_writing_in_place(session_fs: SigmaFileSystem, place: str) -> None:
    fs, path = session_fs, f"{place}/log"
    for line in ("one\n", "two\n"):
        with fs.open(path, "a") as file:
            file.write(line)
    with fs.open(path, "r+b") as file:
        assert file.readline() == b"one\n"
        file.write(b"TWO\nthree\n")
        file.seek(0)
        file.write(b"O")
        assert file.seek(0, 2) == 14
    assert fs.cat_file(path) == b"One\nTWO\nthree\n"
    with fs.open(path, "r+b") as file:
        file.seek(4)
        assert file.truncate() == 4
        assert file.truncate(6) == 6
        assert file.seek(0, 2) == 6
    assert fs.cat_file(path) == b"One\n\0\0"
    with pytest.raises(FileNotFoundError):
        fs.open(f"{place}/none", "r+b")


@pytest.mark.parametrize("server", ["s3"])
def test_s3_has_no_appending_and_no_writing_in_place(session_fs: SigmaFileSystem, place: str) -> None:
    fs, path = session_fs, f"{place}/log"
    fs.pipe_file(path, b"x")
    for mode in ("ab", "r+b"):
        with pytest.raises(serr.NotSupported):
            fs.open(path, mode)


def test_a_transaction(session_fs: SigmaFileSystem, place: str) -> None:
    fs = session_fs
    fs.pipe_file(f"{place}/old", b"old")
    with fs.transaction:
        with fs.open(f"{place}/f", "wb") as file:
            file.write(b"f")
        with fs.open(f"{place}/old", "w") as text:
            text.write("new")
        fs.pipe_file(f"{place}/piped", b"piped")
        assert fs.cat(f"{place}/*") == {f"{place}/old": b"old"}
        with pytest.raises(FileExistsError):
            fs.open(f"{place}/old", "xb")
        with pytest.raises(serr.NotSupported):
            fs.open(f"{place}/old", "ab")
    after = {f"{place}/f": b"f", f"{place}/old": b"new", f"{place}/piped": b"piped"}
    assert fs.cat(f"{place}/*") == after
    with contextlib.suppress(ZeroDivisionError), fs.transaction:
        fs.open(f"{place}/g", "wb").close()
        fs.pipe_file(f"{place}/h", b"")
        raise ZeroDivisionError
    assert fs.cat(f"{place}/*") == after


@large_files
def test_a_transaction_of_large_files(session_fs: SigmaFileSystem, place: str) -> None:
    fs = session_fs
    with fs.transaction, fs.open(f"{place}/kept", "wb") as file:
        file.write(LARGE)
        assert not fs.exists(f"{place}/kept")
    assert fs.cat(f"{place}/*") == {f"{place}/kept": LARGE}
    with contextlib.suppress(ZeroDivisionError), fs.transaction:
        with fs.open(f"{place}/dropped", "wb") as file:
            file.write(LARGE)
        raise ZeroDivisionError
    assert fs.ls(place, detail=False) == [f"{place}/kept"]


def test_touch(session_fs: SigmaFileSystem, place: str) -> None:
    fs, path = session_fs, f"{place}/f"
    fs.touch(path, truncate=False)
    assert fs.size(path) == 0
    fs.pipe_file(path, b"x")
    with pytest.raises(serr.NotSupported, match="sets times"):
        fs.touch(path, truncate=False)
    assert fs.cat_file(path) == b"x"
    fs.touch(path)
    assert fs.cat_file(path) == b""


def test_a_change_is_seen(session_fs: SigmaFileSystem, place: str) -> None:
    fs, path = session_fs, f"{place}/f"
    fs.pipe_file(path, b"one")
    before = (fs.ukey(path), fs.checksum(path))
    assert (fs.ukey(path), fs.checksum(path)) == before
    assert abs(fs.modified(path).timestamp() - fs.info(path)["mtime"]) < 1e-3
    fs.pipe_file(path, b"two")
    assert fs.ukey(path) != before[0]
    assert fs.checksum(path) != before[1]
    with pytest.raises(serr.NotSupported):
        fs.created(path)


def test_modes_that_there_are_not(session_fs: SigmaFileSystem, site: object) -> None:
    for mode in ("rwb", "w+b", "", "bb", "z"):
        with pytest.raises(ValueError, match="rb, wb, xb, ab or r"):
            session_fs.open("name/f", mode)
    with pytest.raises(ValueError, match="'overwrite' or 'create'"):
        session_fs.pipe_file("name/f", b"", mode="append")

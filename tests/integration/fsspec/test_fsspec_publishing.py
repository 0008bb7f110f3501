"""What is written shows whole, or not at all: whoever drops it, and by whichever way."""

from __future__ import annotations

import contextlib
import gc
import threading
from typing import TYPE_CHECKING, Any

import fsspec
import numpy as np
import pytest

from sigmaos_ray import serr

if TYPE_CHECKING:
    from fssite import Site

    from sigmaos_ray.fsspec import SigmaFileSystem

LARGE = bytes(3_000_000)
"""Of more than one message."""

SIZES = {"small": b"new", "large": LARGE}

WAIT_S = 30

appending = pytest.mark.parametrize("server", ["named", "ux"])


def fits(server: str, size: str) -> bool:
    """named keeps files of up to 1 MiB."""
    return server != "named" or size == "small"


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("mode", ["wb", "xb", "ab"])
@pytest.mark.parametrize("compression", [None, "gzip"])
def test_a_block_that_raises_publishes_nothing(
    session_fs: SigmaFileSystem, place: str, server: str, size: str, mode: str, compression: str | None
) -> None:
    if not fits(server, size) or (server, mode) == ("s3", "ab"):
        return  # there is no such file
    fs, path = session_fs, f"{place}/f"
    if mode != "xb":
        fs.pipe_file(path, b"old")
    with contextlib.suppress(ZeroDivisionError), fs.open(path, mode, compression=compression) as file:
        file.write(SIZES[size])
        raise ZeroDivisionError
    if mode == "xb":
        assert fs.ls(place) == []
    else:
        assert fs.cat(f"{place}/*") == {path: b"old"}


@pytest.mark.parametrize("server", ["ux"])
def test_a_block_that_raises_in_any_codec(session_fs: SigmaFileSystem, place: str) -> None:
    for codec in ("bz2", "xz", "zip", "gzip"):
        with contextlib.suppress(ZeroDivisionError), session_fs.open(f"{place}/f", "wb", compression=codec) as file:
            file.write(b"new")
            raise ZeroDivisionError
    assert session_fs.ls(place) == []


@pytest.mark.parametrize("compression", [None, "gzip"])
@pytest.mark.parametrize("mode", ["wb", "xb", "w", "x"])
def test_what_nobody_closes_publishes_nothing(
    session_fs: SigmaFileSystem, place: str, server: str, mode: str, compression: str | None
) -> None:
    data: Any = (b"x" if "b" in mode else "x") * (10 if server == "named" else 3_000_000)

    def forget() -> None:
        session_fs.open(f"{place}/f", mode, compression=compression).write(data)
        gc.collect()

    with pytest.warns(ResourceWarning, match="was not closed and is lost"):
        forget()
    for thread in threading.enumerate():
        if thread.name == "fsspec-drop":
            thread.join(WAIT_S)
    assert session_fs.ls(place) == []


@pytest.mark.parametrize("mode", ["wb", "w"])
def test_a_block_of_fsspec_open_that_raises(session_fs: SigmaFileSystem, place: str, site: Site, mode: str) -> None:
    """It closes its files whatever happened, and tells them nothing."""
    url, options = f"sigma://{place}/f.gz", {"state_file": str(site.state_file)}
    data: Any = b"new" if mode == "wb" else "new"
    for compression in (None, "infer"):
        with contextlib.suppress(ZeroDivisionError), fsspec.open(url, mode, compression=compression, **options) as file:
            file.write(data)
            raise ZeroDivisionError
        assert session_fs.ls(place) == []
        with fsspec.open(url, mode, compression=compression, **options) as file:
            file.write(data)
        with fsspec.open(url, mode.replace("w", "r"), compression=compression, **options) as file:
            assert file.read() == data
        session_fs.rm(url)
    try:
        raise ZeroDivisionError
    except ZeroDivisionError:
        with fsspec.open(url, mode, **options) as file:  # somebody else's error
            file.write(data)
    assert session_fs.cat_file(url) == b"new"


@pytest.mark.parametrize("server", ["ux"])
def test_a_large_file_replaces_in_one_moment(session_fs: SigmaFileSystem, place: str) -> None:
    fs, path = session_fs, f"{place}/f"
    fs.clnt.put_file(path, b"old", perm=0o640)
    fs.clnt.symlink(path, f"{place}/link")
    with fs.open(f"{place}/link", "wb") as file:
        file.write(LARGE)
        assert fs.cat_file(path) == b"old"
    assert fs.cat_file(path) == LARGE
    assert fs.info(path)["mode"] == 0o640
    assert sorted(fs.ls(place, detail=False)) == [path, f"{place}/link"]
    assert fs.clnt.get_file(f"{place}/link").decode() == path


@pytest.mark.parametrize("server", ["ux"])
def test_a_name_as_long_as_may_be(session_fs: SigmaFileSystem, place: str) -> None:
    fs, path = session_fs, f"{place}/{'n' * 255}"
    with fs.open(path, "wb") as file:
        file.write(LARGE)
    assert fs.size(path) == len(LARGE)


@pytest.mark.parametrize("server", ["ux"])
def test_a_name_that_somebody_else_took_meanwhile(session_fs: SigmaFileSystem, place: str) -> None:
    fs, path = session_fs, f"{place}/f"
    file = fs.open(path, "xb")
    file.write(LARGE)
    fs.pipe_file(path, b"theirs")
    with pytest.raises(FileExistsError):
        file.close()
    assert fs.cat(f"{place}/*") == {path: b"theirs"}


def test_writing_through_a_link(session_fs: SigmaFileSystem, place: str, server: str) -> None:
    if server == "s3":
        return  # S3 has no links
    fs = session_fs
    fs.clnt.symlink(f"{place}/f", f"{place}/link")
    with pytest.raises(FileExistsError):
        fs.pipe_file(f"{place}/link", b"mine", mode="create")
    for data in (b"one", b"two"):
        fs.pipe_file(f"{place}/link", data)
        assert fs.clnt.get_file(f"{place}/f") == data
    with fs.open(f"{place}/link", "wb") as file:
        file.write(b"three")
    fs.cp_file(f"{place}/link", f"{place}/copy")
    assert (fs.clnt.get_file(f"{place}/f"), fs.clnt.get_file(f"{place}/copy")) == (b"three", b"three")


@appending
def test_where_an_append_is(session_fs: SigmaFileSystem, place: str, server: str) -> None:
    fs, path = session_fs, f"{place}/log"
    for number in range(3):
        with fs.open(path, "ab") as file:
            assert file.tell() == 4 * number
            file.write(b"line")
            assert file.tell() == 4 * number + 4
    with fs.open(path, "a", encoding="utf-8") as text:
        assert text.tell() == 12
        text.write("né")
        assert text.tell() == 15
        text.discard()
    with fs.clnt.create_writer(path, mode=0x81) as writer:
        assert writer.tell() == 12
        writer.write(b"more")
        assert writer.tell() == 16
    assert fs.cat_file(path) == b"linelinelinemore"
    if fits(server, "large"):
        with fs.open(path, "ab") as file:
            file.write(LARGE)
            file.write(b"end")
            assert fs.size(path) == 16
        assert fs.size(path) == 19 + len(LARGE)


BUFFERS: dict[str, Any] = {
    "zero in the shape": np.zeros((3, 0)),
    "times": np.array(["2026-01-01"], "datetime64[s]"),
    "numbers": np.arange(6).reshape(2, 3),
    "a view": memoryview(b"abcdef")[::2],
}


@pytest.mark.parametrize("kind", BUFFERS)
def test_any_buffer(session_fs: SigmaFileSystem, place: str, kind: str) -> None:
    fs, path = session_fs, f"{place}/f"
    data, expected = BUFFERS[kind], BUFFERS[kind].tobytes()
    for compression in (None, "gzip"):
        with fs.open(path, "wb", compression=compression) as file:
            assert file.write(data) == len(expected)
        with fs.open(path, "rb", compression=compression) as file:
            assert file.read() == expected
    fs.pipe_file(path, data)
    assert fs.cat_file(path) == expected
    fs.clnt.put_file(path, data)
    with fs.clnt.create_writer(f"{path}2") as writer:
        writer.write(data)
    assert fs.clnt.get_file(path) == fs.clnt.get_file(f"{path}2") == expected
    with pytest.raises(TypeError):
        fs.pipe_file(path, "text")


def test_in_place_is_refused_at_open(session_fs: SigmaFileSystem, place: str, server: str) -> None:
    fs, path = session_fs, f"{place}/f.gz"
    fs.pipe_file(path, b"x")
    with pytest.raises(serr.NotSupported):
        fs.open(path, "r+b", compression="infer")
    with fs.transaction, pytest.raises(serr.NotSupported):
        fs.open(path, "r+b")
    if server == "s3":
        with pytest.raises(serr.NotSupported):
            fs.open(path, "r+b")


# -- transactions


def test_transactions_of_threads(session_fs: SigmaFileSystem, place: str) -> None:
    """A file system object is shared; what one thread holds back is no business of others'."""
    fs = session_fs

    def other() -> None:
        fs.pipe_file(f"{place}/other", b"at once")
        with fs.transaction:
            fs.pipe_file(f"{place}/own", b"own")

    with fs.transaction:
        fs.pipe_file(f"{place}/mine", b"mine")
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        assert fs.cat(f"{place}/*") == {f"{place}/other": b"at once", f"{place}/own": b"own"}
    assert fs.cat_file(f"{place}/mine") == b"mine"
    fs.pipe_file(f"{place}/after", b"at once")
    assert fs.exists(f"{place}/after")


@pytest.mark.parametrize("server", ["named"])
def test_a_commit_in_named_is_all_or_nothing(session_fs: SigmaFileSystem, place: str) -> None:
    fs = session_fs
    fs.pipe_file(f"{place}/old", b"old")
    fs.start_transaction()
    for name in ("a", "old", "b/c"):
        fs.pipe_file(f"{place}/{name}", b"new")
    fs.pipe_file(f"{place}/taken", b"mine", mode="create")
    fs.clnt.put_file(f"{place}/taken", b"theirs")
    with pytest.raises(FileExistsError):
        fs.end_transaction()
    assert fs.cat(fs.find(place)) == {f"{place}/old": b"old", f"{place}/taken": b"theirs"}
    with fs.transaction:
        for name in ("a", "old", "b/c"):
            fs.pipe_file(f"{place}/{name}", b"early")
            fs.pipe_file(f"{place}/{name}", b"new")
    versions = {fs.info(f"{place}/{name}")["version"] for name in ("a", "old", "b/c")}
    assert len(versions) == 1
    assert fs.cat_file(f"{place}/b/c") == b"new"


@pytest.mark.parametrize("server", ["ux", "s3"])
def test_a_commit_elsewhere_that_fails_is_over(session_fs: SigmaFileSystem, place: str) -> None:
    """In the order in which they were opened; what comes after the one that fails is dropped."""
    fs = session_fs
    fs.start_transaction()
    fs.pipe_file(f"{place}/first", b"1")
    fs.pipe_file(f"{place}/taken", b"mine", mode="create")
    fs.open(f"{place}/last", "wb").write(LARGE)
    fs.clnt.put_file(f"{place}/taken", b"theirs")
    with pytest.raises(FileExistsError):
        fs.end_transaction()
    assert fs.cat(f"{place}/*") == {f"{place}/first": b"1", f"{place}/taken": b"theirs"}
    fs.pipe_file(f"{place}/after", b"at once")
    assert fs.cat_file(f"{place}/after") == b"at once"

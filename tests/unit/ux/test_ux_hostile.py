"""What a host can be like: full, read-only, not ours, odd; clear errors, and nothing done by halves."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
from typing import TYPE_CHECKING

import pytest
from uxtree import ME, UxTree, make_dir, make_file, make_pipe, open_tree, put, remove, rename

from kernel.ux import hostfile
from kernel.ux.store import INLINE_BYTES_MAX, INLINE_READ_BYTES_MAX
from sigmaos_ray import serr
from sigmaos_ray.protsrv.node import OpenHow
from sigmaos_ray.sigmap import DMDIR, NO_OFFSET, ORDWR, OREAD, OTRUNC, OWRITE, Fence

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

GIB = 1 << 30
NOBODY = 65534


def refusing(number: int) -> Callable[..., int]:
    def refuse(*_: object, **__: object) -> int:
        raise OSError(number, os.strerror(number))

    return refuse


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.EACCES, serr.Perm),
        (errno.EROFS, serr.Perm),
        (errno.ENOSPC, serr.Error),
        (errno.EDQUOT, serr.Error),
        (errno.EIO, serr.Error),
        (errno.EMFILE, serr.Error),
    ],
)
async def test_a_host_that_refuses_changes(
    tree: UxTree, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[serr.SigmaError]
) -> None:
    """The error has the code that fits, names the file, and says what the host said; nothing is left behind."""
    directory = await make_dir(tree.root, "dir")
    await put(directory, "file", b"old")
    file = await tree.file("dir", "file")
    opened = await file.open(ME, OpenHow(ORDWR))
    with monkeypatch.context() as patched:
        for call in ("link", "unlink", "rename", "mkdir", "rmdir", "mkfifo", "pwrite", "pwritev", "ftruncate"):
            patched.setattr(os, call, refusing(number))
        calls: list[tuple[str, Awaitable[object]]] = [
            ("new", directory.create(ME, "new", OpenHow(OREAD, DMDIR | 0o755))),
            ("file", opened.write(0, b"new")),
            ("file", opened.write(NO_OFFSET, b"new")),
            ("file", file.open(ME, OpenHow(OWRITE | OTRUNC))),
            ("file", remove(file)),
            ("new", rename(file, directory, "new")),
        ]
        for name, call_ in calls:
            with pytest.raises(kind) as caught:
                await call_
            assert (type(caught.value), caught.value.obj, caught.value.msg) == (kind, name, os.strerror(number))
    for calls_failing in (("link",), ("rename",), ("pwrite",)):
        with monkeypatch.context() as patched:
            for call in calls_failing:
                patched.setattr(os, call, refusing(number))
            with pytest.raises(serr.SigmaError):
                await put(directory, "file" if "rename" in calls_failing else "new", b"new")
    await opened.close()
    assert await tree.names("dir") == ["file"]
    assert (tree.host / "dir" / "file").read_bytes() == b"old"


@pytest.fixture
def as_nobody(tree: UxTree) -> Iterator[None]:
    """The tree belongs to whom this process runs as, who is not root: root may do everything."""
    if os.geteuid() != 0:
        yield
        return
    for place in (tree.host, *tree.host.rglob("*")):
        os.chown(place, NOBODY, -1)
    os.seteuid(NOBODY)
    yield
    os.seteuid(0)


@pytest.mark.usefixtures("as_nobody")
async def test_files_without_permission(tree: UxTree) -> None:
    closed = await make_dir(tree.root, "closed")
    read_only = await make_dir(tree.root, "read-only")
    await put(read_only, "file", b"x")
    await put(tree.root, "file", b"x")
    file = await tree.file("file")
    with tree.root.open_dir() as host:
        for name, mode in (("closed", 0o000), ("read-only", 0o500), ("file", 0o000)):
            os.chmod(name, mode, dir_fd=host._fd)
    for call in (
        closed.lookup(ME, "x"),
        closed.entries(ME, "", 10),
        put(closed, "x", b""),
        put(read_only, "x", b""),
        put(read_only, "file", b""),
        remove(await tree.file("read-only", "file")),
        rename(file, read_only, "file"),
        file.open(ME, OpenHow(OREAD)),
        put(tree.root, "file", b"", OWRITE),
    ):
        with pytest.raises(serr.Perm):
            await call
    assert await tree.names() == ["closed", "file", "read-only"], "what cannot be read can be seen"
    assert await tree.names("read-only") == ["file"]


async def test_a_root_that_is_removed_on_the_host_is_told(tree: UxTree) -> None:
    directory = await make_dir(tree.root, "dir")
    await put(directory, "file", b"data")
    node = await tree.file("dir", "file")
    opened = await node.open(ME, OpenHow(OREAD))
    shutil.rmtree(tree.host)
    for call in (
        tree.root.lookup(ME, "dir"),
        tree.root.entries(ME, "", 10),
        tree.root.stat(ME),
        put(tree.root, "new", b""),
        tree.root.create(ME, "new", OpenHow(OWRITE, 0o644)),
        directory.lookup(ME, "file"),
        remove(node),
        rename(node, tree.root, "new"),
    ):
        with pytest.raises(serr.Error, match="removed on the host"):
            await call
    assert await opened.read(0, 10) == b"data", "what is open stays"
    await opened.close()
    tree.host.mkdir()
    with pytest.raises(serr.Error, match="removed on the host"):
        await put(tree.root, "new", b"")
    (tree.host / ".sigmaos-ux").mkdir()


async def test_a_hidden_directory_that_is_removed_on_the_host_is_told(tree: UxTree) -> None:
    shutil.rmtree(tree.host / ".sigmaos-ux")
    fence = Fence("name/elect", 1)
    for call in (put(tree.root, "new", b""), make_pipe(tree.root, "pipe"), put(tree.root, "new", b"", fence=fence)):
        with pytest.raises(serr.Error, match="removed on the host: restart ux"):
            await call
    await (await make_file(tree.root, "file")).close()
    assert await tree.names() == ["file"]
    (tree.host / ".sigmaos-ux").mkdir()


async def test_a_file_that_grows_while_it_is_read(tree: UxTree) -> None:
    await put(tree.root, "log", b"")
    file = await (await tree.file("log")).open(ME, OpenHow(OREAD))
    data_read = b""
    for size in (0, 10, INLINE_BYTES_MAX, INLINE_BYTES_MAX + 1, INLINE_READ_BYTES_MAX, 1):
        with (tree.host / "log").open("ab") as host:
            host.write(os.urandom(size))
        while part := await file.read(len(data_read), INLINE_READ_BYTES_MAX):
            data_read += part
        assert data_read == (tree.host / "log").read_bytes()
    (tree.host / "log").write_bytes(b"short")
    assert await file.read(0, INLINE_READ_BYTES_MAX) == b"short"
    assert await file.read(100, INLINE_READ_BYTES_MAX) == b""
    await file.close()


async def test_a_sparse_file_larger_than_4_gib(tree: UxTree) -> None:
    file = await make_file(tree.root, "sparse")
    await file.write(5 * GIB, b"end")
    assert (await (await tree.file("sparse")).stat(ME)).length == 5 * GIB + 3
    assert await file.read(5 * GIB - 2, 10) == b"\0\0end"
    assert await file.read(4 * GIB, INLINE_READ_BYTES_MAX) == bytes(INLINE_READ_BYTES_MAX)
    await put(tree.root, "sparse", b"middle", OWRITE, offset=4 * GIB + 1)
    assert await file.read(4 * GIB, 8) == b"\0middle\0"
    await file.close()
    assert (tree.host / "sparse").stat().st_blocks * 512 < 1 << 20


async def test_hard_links_of_the_host(tree: UxTree) -> None:
    await put(tree.root, "a", b"one")
    os.link(tree.host / "a", tree.host / "b")
    a, b = await tree.file("a"), await tree.file("b")
    assert a.qid().path == b.qid().path, "one object with two names"
    await put(tree.root, "a", b"two", OWRITE)
    assert (tree.host / "b").read_bytes() == b"two"
    await put(tree.root, "a", b"three")
    assert (tree.host / "b").read_bytes() == b"two", "a put that replaces parts them, as a rename does"
    await remove(await tree.file("a"))
    assert (await (await tree.file("b")).stat(ME)).length == 3


async def test_pathnames_longer_than_the_host_takes_at_once(tree: UxTree) -> None:
    directory = tree.root
    name = "d" * 200
    for _ in range(30):
        directory = await make_dir(directory, name)
    await put(directory, "deep", b"found")
    way = [name] * 30
    assert len("/".join(way)) > 4096
    assert len(await tree.root.walk(ME, [*way, "deep"])) == 31
    await rename(await tree.file(*way, "deep"), directory, "renamed")
    lease, _ = tree.fs.leases.grant(60.0)
    await put(directory, "leased", b"", lease=lease)
    assert await tree.names(*way) == ["leased", "renamed"]
    tree.store.close()
    again = open_tree(tree.host)
    assert await again.names(*way) == ["renamed"]
    again.store.close()


async def test_names_that_are_not_text(tree: UxTree) -> None:
    """They are not shown, and they are not lost: a directory that has them is not empty."""
    directory = await make_dir(tree.root, "dir")
    (tree.host / "dir" / os.fsdecode(b"\xff")).write_text("x")
    assert await tree.names("dir") == []
    with pytest.raises(serr.NotEmpty):
        await remove(directory)
    await rename(directory, tree.root, "moved")
    assert os.listdir(tree.host / "moved") == [os.fsdecode(b"\xff")]


async def test_a_directory_that_becomes_a_file_and_back(tree: UxTree) -> None:
    directory = await make_dir(tree.root, "x")
    (tree.host / "x").rmdir()
    (tree.host / "x").write_text("a file")
    with pytest.raises(serr.NotDir):
        await directory.lookup(ME, "y")
    file = await tree.file("x")
    (tree.host / "x").unlink()
    (tree.host / "x").mkdir()
    with pytest.raises(serr.SigmaError):
        await file.open(ME, OpenHow(OREAD))
    assert (await tree.dir("x")).is_dir


# -- reading without a thread


async def test_what_is_in_memory_is_read_on_the_loop(tree: UxTree, monkeypatch: pytest.MonkeyPatch) -> None:
    data = os.urandom(INLINE_READ_BYTES_MAX)
    await put(tree.root, "file", data)
    file = await (await tree.file("file")).open(ME, OpenHow(OREAD))
    with monkeypatch.context() as patched:
        patched.setattr(tree.store, "read", refusing(0))
        assert await file.read(0, INLINE_READ_BYTES_MAX) == data
        assert await file.read(5, INLINE_READ_BYTES_MAX) == data[5:]
        assert await file.read(len(data), INLINE_READ_BYTES_MAX) == b""
    await file.close()


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.EOPNOTSUPP])
async def test_what_is_not_in_memory_is_read_by_a_thread(
    tree: UxTree, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    data = os.urandom(INLINE_READ_BYTES_MAX)
    await put(tree.root, "file", data)
    file = await (await tree.file("file")).open(ME, OpenHow(OREAD))
    with monkeypatch.context() as patched:
        patched.setattr(os, "preadv", refusing(number))
        assert await file.read(0, INLINE_READ_BYTES_MAX) == data
    with monkeypatch.context() as patched:
        patched.setattr(os, "preadv", lambda *_: 10)
        assert await file.read(0, INLINE_READ_BYTES_MAX) == data, "what is in memory in part"
    await file.close()


async def test_a_read_waits_for_a_write_that_is_under_way(tree: UxTree, monkeypatch: pytest.MonkeyPatch) -> None:
    size = INLINE_READ_BYTES_MAX
    file = await make_file(tree.root, "file")
    await file.write(0, b"a" * size)
    begun, may_go_on = asyncio.Event(), asyncio.Event()
    really = tree.store.write

    async def slow(fd: int, offset: int, data: bytes, name: str) -> int:
        await really(fd, offset, data[: size // 2], name)
        begun.set()
        await may_go_on.wait()
        return await really(fd, offset, data, name)

    monkeypatch.setattr(tree.store, "write", slow)
    writing = asyncio.ensure_future(file.write(0, b"b" * size))
    await begun.wait()
    reading = asyncio.ensure_future(file.read(0, size))
    await asyncio.sleep(0)
    assert not reading.done()
    may_go_on.set()
    assert await reading == b"b" * size
    await writing
    await file.close()


# -- losing power


async def test_with_fsync_all_is_on_the_disk_before_it_is_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``proxy.ux_fsync``: which descriptors are synced is seen by what they stand for at that moment."""
    tree = open_tree(tmp_path / "ux", syncs=True)
    host = tmp_path / "ux"
    synced: list[str] = []
    really = os.fsync

    def fsync(fd: int) -> None:
        really(fd)
        synced.append(os.path.relpath(os.readlink(f"/proc/self/fd/{fd}"), host))

    def take() -> list[str]:
        taken = [name for name in synced if not name.startswith(".sigmaos-ux")]
        synced.clear()
        return taken

    monkeypatch.setattr(os, "fsync", fsync)
    directory = await make_dir(tree.root, "dir")
    assert take() == ["."]
    await put(directory, "file", b"data")
    assert len(synced) == 2
    assert synced[0].startswith(".sigmaos-ux/"), "the contents, before they have a name"
    assert take() == ["dir"]
    await put(directory, "file", b"in place", OWRITE)
    assert take() == ["dir/file"]
    file = await make_file(directory, "open")
    assert take() == ["dir"]
    await file.write(0, b"x")
    assert take() == []
    await file.close()
    assert take() == ["dir/open"]
    file = await (await tree.file("dir", "open")).open(ME, OpenHow(OREAD))
    await file.close()
    assert take() == []
    await rename(await tree.file("dir", "open"), tree.root, "moved")
    assert sorted(take()) == [".", "dir"]
    await remove(await tree.file("moved"))
    assert take() == ["."]
    lease, _ = tree.fs.leases.grant(60.0)
    await put(tree.root, "leased", b"", lease=lease)
    assert [name.split("/")[-1] for name in synced].count("journal") == 1
    tree.store.close()


async def test_without_fsync_nothing_is_synced(tree: UxTree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", refusing(errno.EIO))
    await put(tree.root, "file", b"data")
    await put(tree.root, "file", b"data", OWRITE)
    await rename(await tree.file("file"), tree.root, "moved")


async def test_a_sync_that_fails_is_the_closes_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = open_tree(tmp_path / "ux", syncs=True)
    file = await make_file(tree.root, "file")
    await file.write(0, b"x")
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", refusing(errno.EIO))
        with pytest.raises(serr.Error, match="Input/output"):
            await file.close()
        with pytest.raises(serr.Error, match="Input/output"):
            await put(tree.root, "file", b"new")
    assert (tree.host / "file").read_bytes() == b"x"
    tree.store.close()


def test_a_full_disk_in_the_hosts_own_words() -> None:
    """/dev/full refuses as a full disk does."""
    fd = os.open("/dev/full", os.O_RDWR)
    with pytest.raises(serr.Error, match=r"full \(No space left on device\)"):
        hostfile.write(fd, 0, b"x", "full")
    os.close(fd)

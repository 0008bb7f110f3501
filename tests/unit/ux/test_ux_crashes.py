"""Killed before any one of its calls on the host: the next server removes what was leased, and nothing else.

Goal: L-6 and R-12 over ``kill -9`` in every order. Method: a child does the same steps again and again, and each time
dies, without any cleaning up, one call later than the last time; before each step it says which files must be there
after a restart and which may be. Then a server starts over what it left, and in a second test dies in that, too.
"""

from __future__ import annotations

import asyncio
import itertools
import os
from typing import TYPE_CHECKING, NamedTuple

import msgspec
from uxtree import UxTree, make_dir, make_pipe, open_tree, put, remove, rename

from kernel.ux.journal import At, Gone, Moved, places
from sigmaos_ray.sigmap import OTRUNC, OWRITE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CALLS = ("open", "link", "unlink", "rename", "pwrite", "mkfifo", "mkdir", "rmdir", "fchmod", "ftruncate")
DIED = 99


class Promise(NamedTuple):
    """What a restart has to find: files that must be there, and files that may be."""

    must: list[str]
    may: list[str]


class Steps:
    """A child's steps, and what they promise."""

    def __init__(self, tree: UxTree, notes: Path) -> None:
        self._tree = tree
        self._notes = notes
        self._must: set[str] = set()

    def promise(self, *, may: tuple[str, ...] = (), but: tuple[str, ...] = ()) -> None:
        """Before a step: ``may`` appear by it or go by it."""
        self._must -= {*may, *but}
        with self._notes.open("wb") as notes:
            notes.write(msgspec.json.encode(Promise(sorted(self._must), list(may))))

    def done(self, *names: str) -> None:
        self._must |= set(names)

    async def run(self) -> None:
        root, leases = self._tree.root, self._tree.fs.leases
        lease, _ = leases.grant(60.0)
        self.promise(may=("plain",))
        await put(root, "plain", b"x")
        self.done("plain")
        self.promise()
        await put(root, "leased", b"x", lease=lease)
        self.promise(may=("later", "over"))
        await put(root, "later", b"x")
        await put(root, "over", b"x")
        self.done("later", "over")
        self.promise(may=("later",))
        await put(root, "later", b"y", OWRITE, lease=lease)
        self.promise(may=("over",))
        await put(root, "over", b"y", OWRITE | OTRUNC, lease=lease)
        self.promise()
        await put(root, "over", b"z", OWRITE | OTRUNC)
        await rename(await self._tree.file("leased"), root, "renamed")
        self.promise(may=("leased",))
        await put(root, "leased", b"plain")
        self.done("leased")
        self.promise()
        directory = await make_dir(root, "dir")
        await put(directory, "leased", b"", lease=lease)
        self.promise(may=("dir/plain", "moved/plain"))
        await put(directory, "plain", b"")
        await rename(directory, root, "moved")
        self.done("moved/plain")
        self.promise(but=("dir/plain",))
        await remove(await self._tree.file("later"))
        self.promise(may=("later",))
        await put(root, "later", b"plain")
        self.done("later")
        self.promise(may=("later", "moved/later"))
        await rename(await self._tree.file("later"), await self._tree.dir("moved"), "later")
        self.done("moved/later")
        self.promise()
        pipe = await make_pipe(root, "pipe")
        await rename(pipe, directory, "pipe")
        leases.end(lease)


def in_child(work: Callable[[], None], *, before_call: int) -> bool:
    """Runs ``work`` in a child that dies before the call of that number; True if it came to its end."""
    child = os.fork()
    if child == 0:
        numbers = itertools.count(1)
        for name in CALLS:
            setattr(os, name, _dying(getattr(os, name), numbers, before_call))
        work()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, DIED)
    return code == 0


def _dying(call: Callable[..., object], numbers: itertools.count[int], before_call: int) -> Callable[..., object]:
    def die_or_call(*args: object, **options: object) -> object:
        if next(numbers) == before_call:
            os._exit(DIED)
        return call(*args, **options)

    return die_or_call


def files_of(host: Path) -> set[str]:
    return {
        str(entry.relative_to(host))
        for entry in host.rglob("*")
        if not entry.is_dir() and ".sigmaos-ux" not in entry.parts
    }


def check(host: Path, notes: Path) -> None:
    promise = msgspec.json.decode(notes.read_bytes(), type=Promise)
    files = files_of(host)
    assert set(promise.must) <= files <= {*promise.must, *promise.may}


def test_killed_before_any_call(tmp_path: Path) -> None:
    for number in itertools.count(1):
        host, notes = tmp_path / f"ux-{number}", tmp_path / f"notes-{number}"
        notes.write_bytes(msgspec.json.encode(Promise([], [])))
        ended = in_child(lambda: asyncio.run(Steps(open_tree(host), notes).run()), before_call=number)  # noqa: B023  # it ends in the turn
        tree = open_tree(host)
        check(host, notes)
        tree.store.close()
        assert os.listdir(host / ".sigmaos-ux") == []
        if ended:
            assert number > 60, "the steps make more calls than that"
            return


def test_killed_again_while_it_clears(tmp_path: Path) -> None:
    def make(host: Path) -> None:
        async def steps() -> None:
            tree = open_tree(host)
            lease, _ = tree.fs.leases.grant(60.0)
            directory = await make_dir(tree.root, "dir")
            for name in ("a", "b"):
                await put(directory, name, b"", lease=lease)
            await rename(directory, tree.root, "moved")
            await make_pipe(tree.root, "pipe")
            await put(tree.root, "plain", b"")

        asyncio.run(steps())

    for number in itertools.count(1):
        host = tmp_path / f"ux-{number}"
        assert in_child(lambda: make(host), before_call=0)  # noqa: B023
        assert files_of(host) == {"moved/a", "moved/b", "pipe", "plain"}
        ended = in_child(lambda: open_tree(host) and None, before_call=number)  # noqa: B023
        tree = open_tree(host)
        assert files_of(host) == {"plain"}
        tree.store.close()
        assert os.listdir(host / ".sigmaos-ux") == []
        if ended:
            assert number > 10
            return


async def test_a_new_file_with_the_old_ones_inode_is_not_touched(tree: UxTree) -> None:
    """The mark keeps the inode in use; without it, a host's program could get the number for a file of its own."""
    lease, _ = tree.fs.leases.grant(60.0)
    await put(tree.root, "leased", b"", lease=lease)
    inode = (tree.host / "leased").stat().st_ino
    (tree.host / "leased").unlink()
    for number in range(64):
        (tree.host / f"{number}").write_text("x")
        assert (tree.host / f"{number}").stat().st_ino != inode
    (tree.host / "0").rename(tree.host / "leased")
    tree.store.close()
    assert (tree.host / "leased").read_text() == "x"


def test_a_journal_tells_every_place() -> None:
    records = [At("m", ["a", "f"]), At("n", ["b"]), Moved(["a"], ["c"]), Moved(["c"], ["a"]), Gone("n"), At("m", ["g"])]
    data = b"".join(msgspec.json.encode(record) + b"\n" for record in records)
    assert places(data) == {"m": [("a", "f"), ("c", "f"), ("g",)]}
    assert places(data[:-3]) == {"m": [("a", "f"), ("c", "f")]}, "a line that a crash cut short"
    assert places(b"nonsense\n" + data) == places(data)
    assert places(b"") == {}

"""Which contents stay in memory, and how the others come back."""

from __future__ import annotations

import asyncio

import pytest
from fake_etcd import FakeEtcd

from kernel.named.contents import ContentsCache
from kernel.named.etcd import next_page
from kernel.named.keys import Keys
from kernel.named.state import Contents, Entry, Inode, InodeTree, Meta, Plan
from sigmaos_ray import serr

KEYS = Keys("r")


class Files:
    """Some files of three bytes each, stored and in memory, with room for two."""

    def __init__(self) -> None:
        self.etcd = FakeEtcd()
        self.cache = ContentsCache(self.etcd, KEYS, 6)
        self.tree = InodeTree()

    def make(self, ino: int, data: bytes = b"abc", lease: int = 0) -> Inode:
        inode = self.tree.load(Contents(ino, Meta(0o777, 0.0), data, lease), self.store(ino, data, lease))
        self.tree.link([Entry(1, str(ino), ino, lease)], inode.version)
        self.cache.keep(inode)
        return inode

    def store(self, ino: int, data: bytes | None, lease: int = 0) -> int:
        if data is None:
            return self.etcd.put_directly(KEYS.inode(ino, lease), None)
        ((key, (value, _)),) = KEYS.operations(
            Plan(put_contents=[Contents(ino, Meta(0o777, 0.0), data, lease)])
        ).items()
        return self.etcd.put_directly(key, value)


def test_what_was_not_used_for_long_makes_room() -> None:
    files = Files()
    first, second = files.make(2), files.make(3)
    files.cache.used(first)
    third = files.make(4)
    assert [inode.data for inode in (first, second, third)] == [b"abc", None, b"abc"]
    assert second.length == 3
    assert files.cache.size_bytes == 6


def test_a_change_is_counted_with_its_new_size() -> None:
    files = Files()
    first, second = files.make(2), files.make(3)
    first.data = b"abcde"
    files.cache.keep(first)
    assert (second.data, files.cache.size_bytes) == (None, 5)
    first.data = b""
    files.cache.keep(first)
    files.cache.forget(first)
    assert files.cache.size_bytes == 0


def test_leased_and_removed_files_stay_in_memory() -> None:
    files = Files()
    leased, removed = files.make(2, lease=7), files.make(3)
    files.tree.apply_remove(removed, 50, 0.0)
    files.cache.forget(removed)
    for ino in range(4, 8):
        files.make(ino)
    assert leased.data == removed.data == b"abc"


async def test_contents_come_back() -> None:
    files = Files()
    first = files.make(2, b"one")
    files.make(3)
    files.make(4)
    assert first.data is None
    assert await files.cache.fetch(first) == b"one"
    assert first.data == b"one"
    assert files.cache.size_bytes == 6


async def test_a_file_over_the_bound_is_read_each_time() -> None:
    files = Files()
    large = files.make(2, b"more than six")
    assert await files.cache.fetch(large) == b"more than six"
    assert large.data is None
    assert files.cache.size_bytes == 0


async def test_a_read_during_a_change_returns_the_one_or_the_other_whole() -> None:
    """What it fetched for the old version does not become the new version's."""
    files = Files()
    first = files.make(2, b"old")
    files.make(3)
    files.make(4)
    reading = asyncio.create_task(files.cache.fetch(first))
    await asyncio.sleep(0)  # it has asked etcd
    files.tree.apply_write(first, b"new", files.store(2, b"new"), 0.0)
    files.cache.keep(first)
    assert await reading == b"old"
    assert first.data == b"new"


async def test_a_removed_file_is_read_as_it_was() -> None:
    files = Files()
    first = files.make(2, b"one")
    files.make(3)
    files.make(4)
    files.tree.apply_remove(first, files.store(2, None), 0.0)
    assert await files.cache.fetch(first) == b"one"
    first.data = None
    files.etcd.compacted_below = 1 << 30
    with pytest.raises(serr.NotFound):
        await files.cache.fetch(first)


async def test_a_compacted_history_hides_nothing_that_is_there() -> None:
    files = Files()
    first = files.make(2, b"one")
    files.make(3)
    files.make(4)
    files.etcd.compacted_below = 1 << 30
    assert await files.cache.fetch(first) == b"one"


def test_the_size_of_pages_follows_that_of_contents() -> None:
    limit = 32
    for _ in range(20):
        limit = next_page(limit, limit * 100)
    assert limit == 2000
    for _ in range(3):
        limit = next_page(limit, limit << 20)
    assert limit == 8
    assert next_page(1, 1 << 30) == 1

"""Directories that are read page by page (P-12), also large ones and while entries come and go."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from uxtree import ME, UxTree, make_dir, put

from kernel.ux.hostdir import HostDir
from kernel.ux.listing import Listings, NameList
from kernel.ux.store import INLINE_NAMES_MAX

if TYPE_CHECKING:
    from kernel.ux.directory import UxDir

LARGE_COUNT = 20_000
PAGE = 4096
INODE = (1, 2)


async def page_after(directory: UxDir, names: list[str], limit: int = PAGE) -> list[str]:
    return [stat.name for stat in await directory.entries(ME, names[-1] if names else "", limit)]


async def read_all(directory: UxDir, limit: int = PAGE) -> list[str]:
    names: list[str] = []
    while page := await page_after(directory, names, limit):
        assert len(page) <= limit
        names += page
    return names


def fill(tree: UxTree, count: int) -> list[str]:
    names = [f"f-{number:06}" for number in range(count)]
    (tree.host / "dir").mkdir()
    for name in names:
        os.close(os.open(tree.host / "dir" / name, os.O_CREAT | os.O_WRONLY))
    return names


async def test_the_names_of_a_large_directory_are_listed_once(tree: UxTree, monkeypatch: pytest.MonkeyPatch) -> None:
    names = fill(tree, LARGE_COUNT)
    listed: list[str] = []
    really = HostDir.names

    def count(self: HostDir) -> list[str]:
        listed.append("all")
        return really(self)

    monkeypatch.setattr(HostDir, "names", count)
    assert await read_all(await tree.dir("dir")) == names
    assert listed == ["all"]


@pytest.mark.parametrize("count", [0, 1, INLINE_NAMES_MAX, INLINE_NAMES_MAX + 1, 2 * INLINE_NAMES_MAX])
@pytest.mark.parametrize("limit", [1, 7, INLINE_NAMES_MAX, PAGE])
async def test_directories_and_pages_of_any_size(tree: UxTree, count: int, limit: int) -> None:
    names = fill(tree, count)
    assert await read_all(await tree.dir("dir"), limit) == names


async def test_what_is_there_throughout_is_returned_once_while_others_come_and_go(tree: UxTree) -> None:
    names = fill(tree, 1000)
    stay, go = set(names[::2]), names[1::2]
    directory = await tree.dir("dir")
    names_read: list[str] = []
    while page := await page_after(directory, names_read, 50):
        names_read += page
        for name in (go.pop(), go.pop(0)) if go else ():
            (tree.host / "dir" / name).unlink()
        (tree.host / "dir" / f"f-{len(names_read):06}-new").write_text("by the host")
        await put(directory, f"a-new-{len(names_read)}", b"by a client")
    assert names_read == sorted(set(names_read))
    assert stay <= set(names_read)


async def test_a_reader_that_begins_later_sees_what_came_before_it_began(tree: UxTree) -> None:
    """Though it goes on where an earlier reader stands, who need not see that."""
    fill(tree, 100)
    directory = await tree.dir("dir")
    early = await page_after(directory, [], 10)
    await put(directory, "f-000050-new", b"")
    late = await page_after(directory, [], 10)
    early += await page_after(directory, early, 10)
    late += await page_after(directory, late, 10)
    while page := await page_after(directory, early, 10):
        early += page
    while page := await page_after(directory, late, 10):
        late += page
    assert "f-000050-new" in late
    assert len(late) == len(set(late)) == 101
    assert len(early) in (100, 101)


async def test_a_cursor_whose_entry_is_gone_and_one_past_the_end(tree: UxTree) -> None:
    names = fill(tree, 100)
    directory = await tree.dir("dir")
    page = await page_after(directory, [], 10)
    (tree.host / "dir" / page[-1]).unlink()
    assert await page_after(directory, page, 10) == names[10:20]
    assert await page_after(directory, ["z"], 10) == []
    assert await page_after(directory, [names[49]], 10) == names[50:60], "from the middle, by nobody who began"


async def test_pages_of_hidden_entries_do_not_end_a_listing(tree: UxTree) -> None:
    for number in range(100):
        (tree.host / f"a-{number:03}").symlink_to("nowhere")
        os.mkfifo(tree.host / f"b-{number:03}")
    await make_dir(tree.root, "c")
    assert await read_all(tree.root, 1) == ["c"]


def test_the_newest_listing_wins_also_over_one_that_took_longer() -> None:
    listings = Listings()
    first, second = listings.next_number(), listings.next_number()
    listings.read_from(INODE, NameList(second, ["a", "b", "c"]), is_end=False)
    for is_end in (False, True):
        listings.read_from(INODE, NameList(first, ["a", "b"]), is_end=is_end)
        listing = listings.going_on(INODE)
        assert listing is not None
        assert listing.number == second
    listings.read_from(INODE, NameList(second, ["a", "b", "c"]), is_end=True)
    assert listings.going_on(INODE) is None


def test_listings_are_bounded() -> None:
    listings = Listings(kept_max=2)
    for ino in range(3):
        listings.read_from((1, ino), NameList(listings.next_number(), ["a", "b"]), is_end=False)
    assert listings.going_on((1, 0)) is None
    assert listings.going_on((1, 2)) is not None

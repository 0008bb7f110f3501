"""Keys, order of listings, versions and reading ahead."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.s3 import state
from kernel.s3.state import DirPage, KeyVersions, ObjectInfo, Window
from sigmaos_ray import serr

INFO = ObjectInfo(1, "etag", 0.0)
NAMES = st.text("a-./0", min_size=1, max_size=6)


def test_keys_and_names() -> None:
    assert state.join_key("", "k") == "k"
    assert state.join_key("a/b", "k") == "a/b/k"
    assert (state.within(""), state.within("a")) == ("", "a/")
    assert state.markers("a") == {"a/_._", "a/"}
    for shown in ("a", ".hidden", "é", "x" * 255):
        assert state.is_shown(shown)
    for hidden in ("_._", "", ".", "..", "x" * 256):
        assert not state.is_shown(hidden)
    state.check_new_key("k", "x" * 1024)
    for name, key in (("_._", "a/_._"), ("k", "é" * 513), ("a\x01", "a\x01"), ("b", "\x0b/b")):
        with pytest.raises(serr.Inval):
            state.check_new_key(name, key)


def test_numbers_of_objects_are_stable_and_small_enough() -> None:
    assert state.qid_path("b", "k") == state.qid_path("b", "k")
    numbers = {state.qid_path(bucket, key) for bucket in ("b", "c") for key in ("k", "k/", "l")}
    assert len(numbers) == 6
    assert all(0 <= number < 1 << 63 for number in numbers)


def s3_page(keys: set[str], after: str, count: int) -> DirPage:
    """What S3 answers for the top of a bucket with these keys."""
    items = sorted({key.split("/")[0] + "/" if "/" in key else key for key in keys})
    items = [item for item in items if item > after]
    page = items[:count]
    files = [(item, INFO) for item in page if not item.endswith("/")]
    return DirPage(files, [item[:-1] for item in page if item.endswith("/")], len(items) <= count)


@given(st.sets(NAMES, max_size=40), st.integers(1, 7))
def test_pages_of_s3_come_in_order_of_name_each_entry_once(keys: set[str], count: int) -> None:
    dirs = {key.split("/")[0] for key in keys if "/" in key}
    wanted = sorted(name for name in dirs | {key for key in keys if "/" not in key} if state.is_shown(name))
    names_listed: list[str] = []
    while True:
        after = names_listed[-1] if names_listed else ""
        cursor = after
        while True:
            listing = s3_page(keys, cursor, count)
            entries = state.merge(listing, after)
            if entries or listing.is_last:
                break
            cursor = max([name for name, _ in listing.files] + [f"{name}/" for name in listing.dirs])
        if not listing.is_last:
            late = state.late_dirs(state.last_name(listing), after, entries)
            entries.update((name, None) for name in late if name in dirs and state.is_shown(name))
        if not entries:
            break
        names_listed += sorted(entries)
    assert names_listed == wanted


def test_a_file_hides_a_directory_of_its_name() -> None:
    assert state.merge(DirPage([("a", INFO)], ["a", "b"], True), "") == {"a": INFO, "b": None}


# -- versions


def test_versions_of_objects_follow_writes_and_etags() -> None:
    versions = KeyVersions(now_ns=0)
    version = versions.of_object("b", "k", ObjectInfo(1, "one", 7.0))
    assert version == versions.of_object("b", "k", ObjectInfo(1, "one", 7.0))
    assert version // 1_000_000_000 == 7
    versions.move_object("b", "k", "two", now_ns=8_000_000_000)
    ours = versions.of_object("b", "k", ObjectInfo(1, "two", 8.0))
    assert ours > version
    versions.move_object("b", "k", "two", now_ns=1)
    again = versions.of_object("b", "k", ObjectInfo(1, "two", 8.0))
    assert again > ours, "the same contents, written again"
    theirs = versions.of_object("b", "k", ObjectInfo(1, "three", 0.0))
    assert theirs > again
    assert versions.of_object("b", "k", ObjectInfo(1, "three", 0.0)) == theirs
    assert versions.of_object("b", "k", ObjectInfo(0, "", 0.0)) == theirs, "not in S3 yet"


def test_versions_of_directories_only_grow() -> None:
    versions = KeyVersions(now_ns=100, kept_max=2)
    assert versions.of_dir("b", "d") == 100
    versions.move_dir("b", "d", 50)
    assert versions.of_dir("b", "d") == 101
    versions.move_dir("b", "d", 500)
    assert versions.of_dir("b", "d") == 500
    assert versions.of_dir("b", "") == 100
    for other in ("x", "y"):
        versions.move_dir("b", other, 600)
    assert versions.of_dir("b", "d") >= 500, "forgotten, and no older for that"


# -- reading ahead


def fetched(window: Window, size: int, reads: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """All that a reader makes its window fetch."""
    fetches: list[tuple[int, int]] = []
    for offset, end in reads:
        fetches += window.needed(offset, end, size)
        ahead = window.ahead(offset, size)
        fetches += [ahead] if ahead is not None else []
    return fetches


@given(st.integers(0, 3000), st.integers(0, 2000), st.lists(st.integers(1, 60), min_size=1, max_size=60))
def test_fetches_follow_each_other_and_hold_what_is_read(size: int, start: int, counts: list[int]) -> None:
    window, here, reads = Window(8, 64, 3), start, []
    for count in counts:
        reads.append((here, here + count))
        here += count
    fetches = fetched(window, size, reads)
    assert fetches[0][0] == start
    for (at, count), (following, _) in itertools.pairwise(fetches):
        assert at + count == following
    assert window.frontier >= min(here, size)
    assert all(at < size for at, _ in fetches[1:])


def test_windows_double_for_a_sequential_reader_and_then_several_are_under_way() -> None:
    fetches = fetched(Window(8, 64, 3), 10_000, [(at, at + 4) for at in range(0, 400, 4)])
    assert [count for _, count in fetches[:5]] == [8, 16, 32, 64, 64]
    assert fetches[-1][0] + fetches[-1][1] >= 400 + 2 * 64


def test_a_single_read_fetches_little_more_than_it_asks_for() -> None:
    assert fetched(Window(8, 64, 3), 10_000, [(500, 504)]) == [(500, 8)]
    assert fetched(Window(8, 64, 3), 10_000, [(500, 700)]) == [(500, 200)]


# -- parts


def test_parts_grow_so_that_they_hold_the_largest_object() -> None:
    sizes = [state.part_bytes(number, 8 << 20) for number in range(1, state.PARTS_MAX + 1)]
    assert sizes[0] == sizes[499] == 8 << 20
    assert sizes[500] == 16 << 20
    assert sizes == sorted(sizes)
    assert max(sizes) == state.PART_BYTES_MAX
    assert sum(sizes) > 5 << 40
    assert state.part_bytes(1, 1) == state.PART_BYTES_MIN


# -- hostile keys


def test_what_no_pathname_leads_to_is_told_apart() -> None:
    assert state.is_reachable("d/a/b", "d")
    assert state.is_reachable("d/a/_._", "d")
    assert state.is_reachable("d/a/", "d")
    for hidden in ("d//b", "d/../b", "d/a/\ufffd", "d/~any/b", f"d/{'x' * 256}"):
        assert not state.is_reachable(hidden, "d")
    assert state.dirs_above("d/a/b/c", "d") == ["d/a", "d/a/b"]
    assert state.dirs_above("c", "") == []


def test_entries_that_lead_to_a_key() -> None:
    assert state.entries_along("d/a/b/c", "d") == [("d", "a"), ("d/a", "b"), ("d/a/b", "c")]
    assert state.entries_along("d/a/_._", "d") == state.entries_along("d/a/", "d") == [("d", "a")]
    assert state.entries_along("a/c", "") == [("", "a"), ("a", "c")]
    assert state.may_exist("x" * 1024)
    assert not state.may_exist("é" * 513)
    with pytest.raises(serr.Inval):
        state.check_new_key("d", "x" * 1021, extra_bytes=4)


def test_all_below_a_removed_directory_is_newer_than_it_was() -> None:
    versions = KeyVersions(now_ns=100)
    versions.move_dir("b", "d/e", 200)
    versions.move_below("b", "d", 150)
    assert versions.of_dir("b", "d/e") >= 150
    versions.move_below("b", "d", 300)
    assert versions.of_dir("b", "d/e") == 300

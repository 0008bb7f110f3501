"""Keys, order of listings, versions and reading ahead."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.s3 import state
from kernel.s3.state import Listing, ObjectInfo, ReadAhead, Versions
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
    for name, key in (("_._", "a/_._"), ("k", "é" * 513)):
        with pytest.raises(serr.Inval):
            state.check_new_key(name, key)


def test_numbers_of_objects_are_stable_and_small_enough() -> None:
    assert state.qid_path("b", "k") == state.qid_path("b", "k")
    numbers = {state.qid_path(bucket, key) for bucket in ("b", "c") for key in ("k", "k/", "l")}
    assert len(numbers) == 6
    assert all(0 <= number < 1 << 63 for number in numbers)


def s3_page(keys: set[str], after: str, count: int) -> Listing:
    """What S3 answers for the top of a bucket with these keys."""
    items = sorted({key.split("/")[0] + "/" if "/" in key else key for key in keys})
    items = [item for item in items if item > after]
    page = items[:count]
    files = [(item, INFO) for item in page if not item.endswith("/")]
    return Listing(files, [item[:-1] for item in page if item.endswith("/")], len(items) <= count)


@given(st.sets(NAMES, max_size=40), st.integers(1, 7))
def test_pages_of_s3_come_in_order_of_name_each_entry_once(keys: set[str], count: int) -> None:
    dirs = {key.split("/")[0] for key in keys if "/" in key}
    wanted = sorted(name for name in dirs | {key for key in keys if "/" not in key} if state.is_shown(name))
    told: list[str] = []
    while True:
        after = told[-1] if told else ""
        cursor = after
        while True:
            listing = s3_page(keys, cursor, count)
            found = state.merge(listing, after)
            if found or listing.is_last:
                break
            cursor = max([name for name, _ in listing.files] + [f"{name}/" for name in listing.dirs])
        if not listing.is_last:
            late = state.late_dirs(state.last_name(listing), after, found)
            found.update((name, None) for name in late if name in dirs and state.is_shown(name))
        if not found:
            break
        told += sorted(found)
    assert told == wanted


def test_a_file_hides_a_directory_of_its_name() -> None:
    assert state.merge(Listing([("a", INFO)], ["a", "b"], True), "") == {"a": INFO, "b": None}


# -- versions


def test_versions_of_objects_follow_writes_and_etags() -> None:
    versions = Versions(now_ns=0)
    seen = versions.of_object("b", "k", ObjectInfo(1, "one", 7.0))
    assert seen == versions.of_object("b", "k", ObjectInfo(1, "one", 7.0))
    assert seen // 1_000_000_000 == 7
    versions.move_object("b", "k", "two", now_ns=8_000_000_000)
    ours = versions.of_object("b", "k", ObjectInfo(1, "two", 8.0))
    assert ours > seen
    versions.move_object("b", "k", "two", now_ns=1)
    again = versions.of_object("b", "k", ObjectInfo(1, "two", 8.0))
    assert again > ours, "the same contents, written again"
    theirs = versions.of_object("b", "k", ObjectInfo(1, "three", 0.0))
    assert theirs > again
    assert versions.of_object("b", "k", ObjectInfo(1, "three", 0.0)) == theirs
    assert versions.of_object("b", "k", ObjectInfo(0, "", 0.0)) == theirs, "not in S3 yet"


def test_versions_of_directories_only_grow() -> None:
    versions = Versions(now_ns=100, kept_max=2)
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


def read(ahead: ReadAhead, data: bytes, offset: int, count: int, fetches: list[int]) -> bytes:
    held = ahead.held(offset, count, len(data))
    if held is None:
        wanted = ahead.wanted(offset, count)
        fetches.append(wanted)
        ahead.fetched(offset, data[offset : offset + wanted])
        held = ahead.held(offset, count, len(data))
    assert held is not None
    return held


@given(st.binary(max_size=300), st.lists(st.tuples(st.integers(0, 320), st.integers(1, 60)), max_size=30))
def test_reads_tell_what_the_file_holds(data: bytes, reads: list[tuple[int, int]]) -> None:
    ahead = ReadAhead(8, 64)
    for offset, count in reads:
        if offset < len(data):
            assert read(ahead, data, offset, count, []) == data[offset : offset + count]


def test_the_window_doubles_for_a_sequential_reader_only() -> None:
    data, fetches = bytes(1000), list[int]()
    ahead = ReadAhead(8, 64)
    for offset in range(0, 500, 4):
        read(ahead, data, offset, 4, fetches)
    assert fetches == [8, 16, 32, *[64] * 7]
    fetches.clear()
    for offset in (900, 700, 300):
        read(ahead, data, offset, 4, fetches)
    assert fetches == [8, 8, 8]
    read(ahead, data, 0, 200, fetches)
    assert fetches[-1] == 200

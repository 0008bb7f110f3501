"""Pairs between mappers and reducers (MR-5 to MR-7), and the two forms of an app."""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Any

import pytest

from sigmaos_ray import serr
from sigmaos_ray.ft.sharding import fnv1a
from user.mr import App, add_counts
from user.mr.app import Module, Pickled, Source, load, ship
from user.mr.engine import MapSide, ReduceSide
from user.mr.shuffle import decode, encode, partition, reducer_of

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from user.mr.app import Pairs


def test_text_and_its_bytes_go_to_one_reducer() -> None:
    assert reducer_of("é", 7) == reducer_of("é".encode(), 7) == (fnv1a("é".encode()) & 0x7FFFFFFF) % 7


def test_partitions_are_all_pairs_once() -> None:
    pairs: Pairs = {b"%d" % number: number for number in range(1000)}
    parts = partition(pairs, 3)
    assert {key: value for part in parts for key, value in part.items()} == pairs
    assert sum(map(len, parts)) == len(pairs)
    assert all(reducer_of(key, 3) == number for number, part in enumerate(parts) for key in part)


def test_a_file_keeps_kinds() -> None:
    pairs: Pairs = {b"bytes": [1, 2.5, None], "text": {"a": b"b"}}
    assert decode(encode(pairs), "f") == pairs
    with pytest.raises(serr.Inval, match="not an intermediate file"):
        decode(b"\xc1", "f")
    with pytest.raises(serr.Inval, match="cannot be written"):
        encode({b"k": object()})


def run(app: App, blocks: list[bytes], mappers: int = 2) -> bytes:
    """All of it, in one process."""
    sides = [MapSide(app) for _ in range(mappers)]
    for number, block in enumerate(blocks):
        sides[number % mappers].add("f", block)
    reduce = ReduceSide(app)
    for side in sides:
        reduce.add(decode(encode(side.pairs()), "f"))
    return reduce.output()


def map_words(_name: str, lines: Iterator[bytes], emit: Callable[[bytes | str, Any], None]) -> None:
    for line in lines:
        for word in line.split():
            emit(word, 1)


def reduce_sum(_key: bytes | str, values: list[int]) -> int:
    return sum(values)


BLOCKS = [b"a b\nb\n", b"c a\n", b"b " * 1000 + b"\n"]


@pytest.mark.parametrize("combine", [None, reduce_sum])
def test_the_form_per_record(combine: Callable[..., int] | None) -> None:
    assert run(App(map=map_words, combine=combine, reduce=reduce_sum), BLOCKS) == b"a\t2\nb\t1002\nc\t1\n"


def test_a_combiner_leaves_one_value() -> None:
    side = MapSide(App(map=map_words, combine=reduce_sum, reduce=reduce_sum))
    for block in BLOCKS:
        side.add("f", block)
    assert side.pairs() == {b"a": [2], b"b": [1002], b"c": [1]}


def test_values_come_in_the_order_of_the_mappers() -> None:
    def emit_all(_name: str, lines: Iterator[bytes], emit: Callable[[str, str], None]) -> None:
        for line in lines:
            emit("k", line.decode())

    app = App(map=emit_all, reduce=lambda _, values: ",".join(values))
    assert run(app, [b"1\n2\n", b"3"], 1) == b"k\t1,2,3\n"


def count_words(_name: str, block: bytes, into: Counter[bytes]) -> None:
    into.update(block.split())


def merge_max(into: dict[Any, Any], more: Mapping[Any, Any]) -> None:
    for key, value in more.items():
        into[key] = max(into.get(key, 0), value)


def test_the_bulk_form() -> None:
    assert run(App(map_block=count_words), BLOCKS) == b"a\t2\nb\t1002\nc\t1\n"
    assert run(App(map_block=count_words, merge=add_counts), BLOCKS) == b"a\t2\nb\t1002\nc\t1\n"
    assert run(App(map_block=count_words, merge=merge_max), BLOCKS) == b"a\t1\nb\t1002\nc\t1\n"
    lists = App(map_block=count_words, reduce=lambda _, values: max(values) if len(values) > 1 else None)
    assert run(lists, [b"a b", b"b b"]) == b"b\t2\n"


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({}, "either map or map_block"),
        ({"map": map_words, "map_block": count_words}, "either map or map_block"),
        ({"map": map_words}, "needs a reduce"),
        ({"map": map_words, "reduce": reduce_sum, "merge": merge_max}, "merge belongs to map_block"),
        ({"map_block": count_words, "combine": reduce_sum}, "combine belongs to map"),
        ({"map_block": count_words, "cut": "page"}, "cut is one of line, word"),
    ],
)
def test_functions_that_make_no_app(fields: dict[str, Any], text: str) -> None:
    with pytest.raises(serr.Inval, match=text):
        App(**fields)


def test_a_key_that_is_none() -> None:
    app = App(map=lambda name, lines, emit: emit(1, 1), reduce=reduce_sum)  # type: ignore[arg-type]
    with pytest.raises(serr.Inval, match="a key is str or bytes, not 1"):
        MapSide(app).add("f", b"x")


def test_apps_travel(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def map(n, lines, emit):\n  pass\ndef reduce(k, vs):\n  return 1\n")
    source = ship("mine.py", tmp_path)
    assert isinstance(source, Source)
    assert load(source).map is not None
    assert ship("wc") == Module("user.mr.wc")
    assert load(ship("user.mr.grep")).cut == "word"
    ten = 10
    pickled = ship(App(map=lambda name, lines, emit: emit("k", ten), reduce=reduce_sum))
    assert isinstance(pickled, Pickled)
    assert run(load(pickled), [b""], 1) == b"k\t10\n"
    module = types.ModuleType("app_of_a_test")
    module.map_block = count_words  # type: ignore[attr-defined]
    assert run(load(ship(module)), [b"x"]) == b"x\t1\n"


@pytest.mark.parametrize(
    ("source", "text"), [("syntax(", "SyntaxError"), ("1/0", "ZeroDivisionError"), ("x = 1", "either map or map_block")]
)
def test_a_file_that_is_no_app(tmp_path: Path, source: str, text: str) -> None:
    (tmp_path / "bad.py").write_text(source)
    with pytest.raises(serr.Inval, match=text):
        ship("bad.py", tmp_path)
    with pytest.raises(serr.Inval, match=r"nosuch.py.*No such file"):
        ship("nosuch.py", tmp_path)
    with pytest.raises(serr.Inval, match="No module named"):
        ship("no_such_app")

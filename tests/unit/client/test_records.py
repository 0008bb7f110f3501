"""Records in streams, however the stream is cut into parts."""

from __future__ import annotations

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigmaos_ray import serr
from sigmaos_ray.blocking.records import read_json_records, read_records, write_json_record, write_record
from sigmaos_ray.fslib.records import RECORD_BYTES_MAX, JsonSplitter, RecordSplitter, pack_record

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    parts = []
    for size in sizes:
        parts.append(data[:size])
        data = data[size:]
    return [*parts, data]


@given(st.lists(st.binary(max_size=40)), st.lists(st.integers(0, 20)))
def test_binary_records_survive_any_cut(records: list[bytes], sizes: list[int]) -> None:
    splitter = RecordSplitter()
    data = b"".join(pack_record(record) for record in records)
    assert [record for part in cut(data, sizes) for record in splitter.feed(part)] == records
    splitter.finish()


@given(st.lists(JSON), st.sampled_from([b"\n", b" ", b"\r\n\t"]), st.lists(st.integers(0, 20)))
def test_json_values_survive_any_cut(values: list[object], between: bytes, sizes: list[int]) -> None:
    splitter = JsonSplitter()
    data = between.join(json.dumps(value, ensure_ascii=False).encode() for value in values)
    values_seen = [value for part in cut(data, sizes) for value in splitter.feed(part)]
    assert [*values_seen, *splitter.finish()] == values


@given(st.lists(st.dictionaries(st.text(), JSON, max_size=3) | st.lists(JSON, max_size=3) | st.text()))
def test_json_values_need_nothing_between_them(values: list[object]) -> None:
    splitter = JsonSplitter()
    data = b"".join(json.dumps(value, indent=2).encode() for value in values)
    assert [*splitter.feed(data), *splitter.finish()] == values


def test_a_number_ends_only_where_something_follows() -> None:
    splitter = JsonSplitter()
    assert list(splitter.feed(b"1")) == []
    assert list(splitter.feed(b"2 3")) == [12]
    assert list(splitter.finish()) == [3]


@pytest.mark.parametrize("data", [b"{]", b"nul ", b"]", b'{"a":}', b'"\x01"'])
def test_what_is_no_json(data: bytes) -> None:
    splitter = JsonSplitter()
    with pytest.raises(serr.Inval):
        assert [*splitter.feed(data), *splitter.finish()]


@pytest.mark.parametrize("data", [b'{"a": [1, 2', b'"abc', b'["\\'])
def test_a_stream_that_ends_within_a_value(data: bytes) -> None:
    splitter = JsonSplitter()
    assert list(splitter.feed(data)) == []
    with pytest.raises(serr.Inval):
        list(splitter.finish())


def test_a_stream_that_ends_within_a_record() -> None:
    splitter = RecordSplitter()
    assert list(splitter.feed(pack_record(b"abc")[:-1])) == []
    with pytest.raises(serr.Inval):
        splitter.finish()


def test_what_is_no_stream_of_records() -> None:
    with pytest.raises(serr.Inval):
        list(RecordSplitter().feed((RECORD_BYTES_MAX + 1).to_bytes(4, "little")))


def test_values_before_what_is_no_json_are_told() -> None:
    values = JsonSplitter().feed(b"[1] [2] [}]")
    assert [next(values), next(values)] == [[1], [2]]
    with pytest.raises(serr.Inval):
        next(values)


def test_through_any_file_object() -> None:
    file = io.BytesIO()
    write_record(file, b"one")
    write_record(file, memoryview(b"two"))
    file.seek(0)
    assert list(read_records(file)) == [b"one", b"two"]
    file = io.BytesIO()
    write_json_record(file, {"a": 1})
    write_json_record(file, [2])
    assert file.getvalue() == b'{"a":1}\n[2]\n'
    file.seek(0)
    assert list(read_json_records(file)) == [{"a": 1}, [2]]
    with pytest.raises(serr.Inval):
        write_json_record(file, object())

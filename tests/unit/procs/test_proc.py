"""Proc and Status: what they accept, and how they travel."""

from __future__ import annotations

import math
import os
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigmaos_ray import Proc, Status, config, serr
from sigmaos_ray.pb import proc_pb2 as pb
from sigmaos_ray.proc import StatusCode, callables

json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


def over_the_wire(status: Status) -> Status:
    return Status.from_pb(pb.ProcStatus.FromString(status.to_pb().SerializeToString()))


@given(st.sampled_from([Status.info, Status.err]), st.text(), json_like)
def test_status_travels_as_it_is(make: Any, msg: str, data: object) -> None:
    status = make(msg, data)
    assert over_the_wire(status) == status
    assert repr(over_the_wire(status).data) == repr(data), "numbers keep their type"


@pytest.mark.parametrize(
    ("status", "is_true"),
    [
        (Status.ok(), {"is_ok"}),
        (Status.evicted(), {"is_evicted"}),
        (Status.err("e"), {"is_err"}),
        (Status.fatal("f"), {"is_fatal"}),
        (Status.crash("signal: killed"), {"is_err", "is_crash"}),
    ],
)
def test_predicates(status: Status, is_true: set[str]) -> None:
    predicates = ("is_ok", "is_evicted", "is_err", "is_fatal", "is_crash")
    assert {name for name in predicates if getattr(over_the_wire(status), name)()} == is_true


@pytest.mark.parametrize("data", [b"bytes", {1, 2}, object(), {"a": b""}])
def test_data_that_is_not_json_like(data: object) -> None:
    with pytest.raises(serr.Inval, match="JSON"):
        Status.info("", data)


def test_unknown_code_is_an_error() -> None:
    assert Status.from_pb(pb.ProcStatus(msg="m")).code is StatusCode.ERROR


def test_status_as_text() -> None:
    assert str(Status.info("Hello", {"a": 1})) == 'OK: Hello {"a": 1}'
    assert str(Status.ok()) == "OK"


def test_pid_names_the_program() -> None:
    first, second = Proc("example"), Proc("example")
    assert first.pid.startswith("example-")
    assert first.pid != second.pid
    assert Proc("example", pid="mine").pid == "mine"
    assert Proc(lambda: None).pid.startswith("lambda-")


@pytest.mark.parametrize(
    "wrong",
    [
        {"program": "no/path"},
        {"program": ""},
        {"program": 3},
        {"args": "text"},
        {"args": ["a", 1]},
        {"mcpu": -1},
        {"mcpu": math.nan},
        {"mcpu": "1000"},
        {"mcpu": True},
        {"mem_mb": -0.5},
        {"mem_mb": math.inf},
        {"env": {"A": 1}},
        {"env": {"": "x"}},
        {"env": {"A=B": "x"}},
        {"pid": "a/b"},
        {"pid": ""},
        {"pid": "~local"},
        {"pid": "x" * 300},
        {"kernels": "sigma-1"},
    ],
)
def test_what_cannot_run_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(serr.Inval):
        Proc(**{"program": "example", **wrong})


@pytest.mark.parametrize("mcpu", [0, 0.5, 10, 1000, 123_456.7])
def test_any_amount_of_cores(mcpu: float) -> None:
    assert Proc("example", mcpu=mcpu).to_pb().mcpu == mcpu


def test_functions_travel() -> None:
    offset = 2
    assert callables.loads(Proc(lambda argv: offset + len(argv)).pickled)(["a"]) == 3


def test_functions_that_cannot_travel() -> None:
    import threading

    lock = threading.Lock()
    with pytest.raises(serr.Inval, match="shipped"):
        Proc(lambda: lock)
    data = bytes(config.current().procs.function_bytes_max)
    with pytest.raises(serr.Inval, match="bytes"):
        Proc(lambda: data)


NOT_UTF8 = os.fsdecode(b"bad\xff")


@pytest.mark.parametrize(
    ("what", "wrong"),
    [
        ("args", {"args": [NOT_UTF8]}),
        ("env: A", {"env": {"A": NOT_UTF8}}),
        ("env", {"env": {NOT_UTF8: "a"}}),
        ("pid", {"pid": NOT_UTF8}),
        ("program", {"program": NOT_UTF8}),
        ("program", {"program": f"name/ux/~local/{NOT_UTF8}"}),
        ("kernels", {"kernels": [NOT_UTF8]}),
    ],
)
def test_text_that_is_no_utf8_is_refused(what: str, wrong: dict[str, Any]) -> None:
    with pytest.raises(serr.Inval) as raised:
        Proc(**{"program": "example", **wrong})
    assert what in str(raised.value)
    assert "bad\\udcff" in str(raised.value)


def test_what_became_wrong_is_refused_when_it_is_sent() -> None:
    proc = Proc("example")
    proc.args.append(NOT_UTF8)
    with pytest.raises(serr.Inval, match=proc.pid):
        proc.to_pb()


any_text = st.text(st.characters(exclude_categories=()))
any_json = st.recursive(
    any_text, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(any_text, inner, max_size=3), max_leaves=10
)


@given(st.sampled_from([Status.info, Status.err]), any_text, any_json)
def test_a_status_carries_any_text_escaped(make: Any, msg: str, data: object) -> None:
    status = make(msg, data)
    assert over_the_wire(status) == status
    assert status.msg == msg.encode("utf-8", "backslashreplace").decode()
    assert msgspec.json.decode(msgspec.json.encode(status.data)) == status.data, "no half characters in it"
    assert over_the_wire(Status(StatusCode.ERROR, msg, data)) == Status.err(msg, data)


def test_text_in_a_status_as_it_is_shown() -> None:
    assert str(Status.err(NOT_UTF8, {NOT_UTF8: [NOT_UTF8, "😀"]})) == (
        'ERROR: bad\\udcff {"bad\\\\udcff": ["bad\\\\udcff", "\\ud83d\\ude00"]}'
    )
    for make in (Status.evicted, Status.fatal, Status.crash):
        assert make(NOT_UTF8).msg == "bad\\udcff"

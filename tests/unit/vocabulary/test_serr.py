"""The error tree (E-1 to E-5): one class for each code and detail, both ways, without passing through text."""

from __future__ import annotations

import pickle

import pytest

from sigmaos_ray import serr
from sigmaos_ray.sessp import wire


@pytest.mark.parametrize(("code", "detail"), serr.CLASSES)
def test_every_class_travels_as_its_code_and_detail(code: int, detail: str) -> None:
    error = serr.from_code(code, "name/x", "why", detail)
    assert type(error) is serr.CLASSES[code, detail]
    assert (error.code, error.detail) == (code, detail)
    back = wire.error_from_pb(wire.error_to_pb(error))
    assert (type(back), back.obj, back.msg) == (type(error), "name/x", "why")
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), again.obj, again.msg) == (type(error), "name/x", "why")


def test_every_code_has_a_class() -> None:
    assert {serr.Code(code) for code, detail in serr.CLASSES if not detail} == set(serr.Code) - {serr.Code.NO_ERROR}


def test_a_server_that_does_not_lead_says_closed_to_those_who_know_no_details() -> None:
    """Its code and words are SigmaOS's; only the detail, not the words, tells it from others that are closed."""
    refusal = wire.error_to_pb(serr.NotLeading("named"))
    assert (refusal.code, refusal.msg) == (serr.Code.CLOSED, "srv expired")
    assert type(wire.error_from_pb(refusal)) is serr.NotLeading
    words_alone = serr.from_code(serr.Code.CLOSED, "named", "srv expired")
    assert type(words_alone) is serr.Closed


def test_who_leads_is_told_with_a_refusal() -> None:
    refusal = serr.NotLeading("named", "srv not elected", ["10.0.0.2:5640"])
    for again in (wire.error_from_pb(wire.error_to_pb(refusal)), pickle.loads(pickle.dumps(refusal))):
        assert isinstance(again, serr.NotLeading)
        assert again.leader == ("10.0.0.2:5640",)


def test_a_detail_that_is_not_known_is_passed_over() -> None:
    assert type(serr.from_code(serr.Code.CLOSED, "x", None, "of the next release")) is serr.Closed


def test_numbers_are_those_of_sigmaos() -> None:
    assert [serr.Code.NOTFOUND, serr.Code.EXISTS, serr.Code.STALE, serr.Code.IO] == [13, 30, 29, 33]


@pytest.mark.parametrize(
    ("ours", "pythons"),
    [
        (serr.NotFound, FileNotFoundError),
        (serr.Exists, FileExistsError),
        (serr.NotDir, NotADirectoryError),
        (serr.IsDir, IsADirectoryError),
        (serr.Perm, PermissionError),
        (serr.Timeout, TimeoutError),
        (serr.Unreachable, ConnectionError),
        (serr.Inval, ValueError),
    ],
)
def test_errors_are_also_pythons(ours: type[serr.SigmaError], pythons: type[Exception]) -> None:
    assert issubclass(ours, pythons)
    with pytest.raises(pythons, match="name/x"):
        raise ours("name/x")


def test_an_unknown_code_is_told_as_error() -> None:
    error = serr.from_code(4711, "x")
    assert type(error) is serr.Error
    assert "4711" in str(error)


def test_foreign_errors_are_wrapped_with_their_cause() -> None:
    error = serr.wrap(ZeroDivisionError("by zero"), "name/x")
    assert type(error) is serr.Error
    assert str(error) == "error: name/x (ZeroDivisionError: by zero)"
    same = serr.Stale("e")
    assert serr.wrap(same) is same


def test_retrying_is_decided_by_sets() -> None:
    """E-5, E-6: an operation whose fate is unknown is repeated only by those who may run it twice."""
    assert serr.is_session_error(serr.IOErr())
    assert not serr.is_walk_ok(serr.IOErr())
    assert serr.is_retry_open_ok(serr.IOErr())
    assert serr.is_walk_ok(serr.NotFound("~any"))
    assert not serr.is_walk_ok(serr.NotFound("~backup"))
    assert not serr.is_retry_open_ok(serr.Stale("e"))
    assert serr.is_unavailable(serr.NotFound("x"))


def test_names_that_are_not_utf8_still_travel_in_errors() -> None:
    assert wire.error_to_pb(serr.NotFound("a\udcffb")).obj == "a\\udcffb"

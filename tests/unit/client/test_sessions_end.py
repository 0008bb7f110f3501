"""Errors of a session that ended: callers add what they know to an error, so each gets one of its own."""

from __future__ import annotations

import pytest

from sigmaos_ray import serr
from sigmaos_ray.fslib.naming import about
from sigmaos_ray.pb.sessp_pb2 import Request
from sigmaos_ray.sessp.state import ClientState


def test_the_error_does_not_grow_from_call_to_call() -> None:
    state = ClientState(1)
    state.end(serr.Unreachable("host:1", "gone"))
    errors = []
    for _ in range(2):
        with pytest.raises(serr.Unreachable) as failed, about("name/f"):
            state.request(Request())
        errors.append(str(failed.value))
    assert errors == ["unreachable: name/f (host:1: gone)"] * 2

"""The unit ring is pure: no Ray, no sockets, no gRPC. What needs them belongs to the integration ring."""

from __future__ import annotations

import socket
import sys
from typing import TYPE_CHECKING, NoReturn

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_GRPC = (
    ("grpc", "server"),
    ("grpc", "insecure_channel"),
    ("grpc.aio", "server"),
    ("grpc.aio", "insecure_channel"),
)


@pytest.fixture(autouse=True)
def _pure(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for call in ("connect", "connect_ex", "bind", "listen"):
        monkeypatch.setattr(socket.socket, call, _forbidden(f"socket.{call}"))
    for module, call in _GRPC:
        if module in sys.modules:  # gRPC's sockets are not Python's
            monkeypatch.setattr(sys.modules[module], call, _forbidden(f"{module}.{call}"))
    if "ray" in sys.modules:
        monkeypatch.setattr(sys.modules["ray"], "init", _forbidden("ray.init"))
    yield
    ray = sys.modules.get("ray")
    assert ray is None or not ray.is_initialized(), "a unit test started Ray"


def _forbidden(what: str) -> Callable[..., NoReturn]:
    def refuse(*_args: object, **_kwargs: object) -> NoReturn:
        pytest.fail(f"{what} in the unit ring: move the test to tests/integration")

    return refuse

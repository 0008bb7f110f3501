"""What blocking faces stand on: a client on the loop thread, and a way to run its calls there."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from sigmaos_ray.fslib import AsyncFsLib

P = ParamSpec("P")
T = TypeVar("T")


class BlockingClient(Protocol):
    """A blocking client, as the faces built on it need it: ``SigmaClnt`` is one."""

    @property
    def asynchronous(self) -> AsyncFsLib:
        """The client beneath, which lives on the loop thread."""

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Runs a coroutine on the client's loop and blocks for its result. Unreachable once the client is closed."""


class Face(abc.ABC):
    """Base of the client's own faces. Their calls may be used by any number of threads."""

    _clnt: AsyncFsLib

    @property
    @abc.abstractmethod
    def asynchronous(self) -> AsyncFsLib:
        """The client beneath, which lives on the loop thread; for faces that are built on it."""

    @abc.abstractmethod
    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Runs a coroutine on the client's loop and blocks for its result."""


async def on_loop(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What a plain call returns, made where the loop runs: for calls that begin something there."""
    return call(*args, **kwargs)

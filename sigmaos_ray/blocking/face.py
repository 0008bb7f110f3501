"""What the faces share: a client on the loop thread, and a way to run its calls there."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from sigmaos_ray.fslib import AsyncFsLib

T = TypeVar("T")


class Runner(Protocol):
    """Runs a coroutine on the client's loop and blocks for its result."""

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T: ...


class BlockingFsLib(Runner, Protocol):
    """A blocking client, as the faces that stand on it need it."""

    @property
    def asynchronous(self) -> AsyncFsLib: ...


class Face(abc.ABC):
    """Base of the faces. Calls are described where they are made, in ``sigmaos_ray.fslib``; they may be used by any
    number of threads."""

    _clnt: AsyncFsLib

    @abc.abstractmethod
    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Runs a coroutine on the client's loop and blocks for its result."""

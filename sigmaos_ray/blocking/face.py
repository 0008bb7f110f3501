"""What blocking faces stand on: a client on the loop thread, and a way to run its calls there."""

from __future__ import annotations

import abc
import asyncio
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar

from sigmaos_ray.deadlines import has_deadline
from sigmaos_ray.sessp.aside import Elsewhere, run_direct

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

    def direct(self, call: Callable[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Makes a call that is one message to a server in this thread, over a connection of its own. What turns out not
        to be so simple is made on the client's loop, from the beginning, as ``run`` does it."""
        if can_be_direct():
            try:
                return run_direct(call(*args, **kwargs))
            except Elsewhere:
                pass
        return self.run(call(*args, **kwargs))


def can_be_direct() -> bool:
    """Whether a call of this thread may be made without a loop: the thread runs none, and gave its calls no time."""
    return asyncio._get_running_loop() is None and not has_deadline()


async def on_loop(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What a plain call returns, made where the loop runs: for calls that begin something there."""
    return call(*args, **kwargs)

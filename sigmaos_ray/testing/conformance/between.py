"""What others do between two messages of one call, for the tests that a call on a name is one moment (P-11, P-15)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeVar

from sigmaos_ray import serr

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from sigmaos_ray.fslib import AsyncFsLib
    from sigmaos_ray.pb.sessp_pb2 import Request

T = TypeVar("T")


class Met(NamedTuple):
    """What came of a call and of what others did meanwhile: results, or the errors that were raised."""

    step: int
    """Before which of its messages, counted from 0."""
    call: object
    other: object

    def winner(self, call: T, other: T) -> T:
        """One of these, by which of the two worked: exactly one must, and the other one found nothing."""
        failed = [result for result in (self.call, self.other) if isinstance(result, serr.SigmaError)]
        assert len(failed) == 1, self
        assert isinstance(failed[0], serr.NotFound), self
        return call if failed[0] is self.other else other


async def outcome(call: Awaitable[object]) -> object:
    """Its result, or the error of a server that it raised."""
    try:
        return await call
    except serr.SigmaError as error:
        return error


async def between_messages(
    sc: AsyncFsLib,
    prepare: Callable[[], Awaitable[object]],
    call: Callable[[], Awaitable[object]],
    other: Callable[[], Awaitable[object]],
) -> AsyncIterator[Met]:
    """Makes a call of ``sc`` again and again: ``other`` comes before its first message, before its second one and so
    on, until it has no more. Each time all is made ready by ``prepare``. ``other`` is by another client."""
    step = 0
    while True:
        await prepare()
        pause = _Pause(step, other)
        sc.core.fids.before_sending = pause
        try:
            result = await outcome(call())
        finally:
            sc.core.fids.before_sending = None
        if not pause.is_over:
            return
        yield Met(step, result, pause.result)
        step += 1


class _Pause:
    """Lets another client act before one of a call's messages."""

    def __init__(self, step: int, other: Callable[[], Awaitable[object]]) -> None:
        self._left = step
        self._other = other
        self.is_over = False
        self.result: object = None

    async def __call__(self, request: Request) -> None:
        if self.is_over:
            return
        if self._left:
            self._left -= 1
            return
        self.is_over = True
        self.result = await outcome(self._other())

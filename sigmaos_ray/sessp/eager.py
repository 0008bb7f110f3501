"""Running a coroutine at once, and only making a task of it if it has to wait.

Most requests of a file server end without waiting for anything; a task for each of them costs more than the request.
(Python 3.12 has eager tasks for this; 3.11 does not.) Until its first wait the coroutine runs inside the caller's
task, so it must not use what asks for the current task there: ``asyncio.timeout`` would cancel the caller, a task group
would wait in it. ``await asyncio.sleep(0)`` first gives it a task of its own.
"""

from __future__ import annotations

import asyncio
import types
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine, Generator

T = TypeVar("T")


class Done(Generic[T]):
    """What a coroutine that did not wait returned."""

    __slots__ = ("value",)

    def __init__(self, value: T) -> None:
        self.value = value


def start(coroutine: Coroutine[Any, Any, T]) -> Done[T] | asyncio.Task[T]:
    """Runs up to the first wait: ``Done`` with the result if there was none, else a task that the caller owns.
    An exception before the first wait is raised here, CancelledError included."""
    try:
        awaited = coroutine.send(None)
    except StopIteration as stop:
        return Done(stop.value)
    return asyncio.get_running_loop().create_task(_rest(coroutine, awaited))


async def _rest(coroutine: Coroutine[Any, Any, T], awaited: object) -> T:
    # A task wants a coroutine, and what yields a future that exists already is a generator.
    return await _go_on(coroutine, awaited)


@types.coroutine
def _go_on(coroutine: Coroutine[Any, Any, T], awaited: object) -> Generator[Any, Any, T]:
    """Hands what the coroutine waits for to the task, and what the task answers to the coroutine."""
    while True:
        try:
            # The first future went to ``start``, which is no task: here it is yielded once more, to the loop's.
            answer = yield awaited
        # The task is thrown away before its end: the coroutine's ``finally`` blocks run now, not whenever it is
        # collected.
        except GeneratorExit:
            coroutine.close()
            raise
        except BaseException as error:  # noqa: BLE001  # whatever the task throws belongs to the coroutine
            try:
                awaited = coroutine.throw(error)
            except StopIteration as stop:
                return stop.value  # type: ignore[no-any-return]
        else:
            try:
                awaited = coroutine.send(answer)
            except StopIteration as stop:
                return stop.value  # type: ignore[no-any-return]

"""Running a coroutine at once, and only making a task of it if it has to wait.

Most requests of a file server end without waiting for anything; a task for each of them costs more than the request.
Until its first wait the coroutine runs inside the caller's task, or none, so it must not use what asks for the current
task there: ``asyncio.timeout`` would cancel the caller, a task group would wait in it. What follows ``own_task`` is in
a task of its own. (Python 3.12 has eager tasks for this; 3.11 does not.)
"""

from __future__ import annotations

import asyncio
import contextvars
import types
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final, Generic, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import Generator

T = TypeVar("T")

_OWN_TASK: Final = object()


class Done(Generic[T]):
    """What a coroutine that did not wait returned."""

    __slots__ = ("value",)

    def __init__(self, value: T) -> None:
        self.value = value


OnEnd: TypeAlias = "Callable[[T | None, BaseException | None], object]"
"""Told what a coroutine returned, or raised."""


def start(coroutine: Coroutine[Any, Any, T], on_end: OnEnd[T]) -> Done[T] | asyncio.Task[None]:
    """Runs up to the first wait: ``Done`` with the result if there was none, else a task that the caller owns.
    An exception before the first wait is raised here, CancelledError included. ``on_end`` is called by that task itself
    in its last step: a callback of the task would cost a turn of the loop."""
    try:
        awaited = coroutine.send(None)
    except StopIteration as stop:
        return Done(stop.value)
    if awaited is _OWN_TASK:
        return _start_in_task(coroutine, on_end)
    return asyncio.get_running_loop().create_task(_Rest(coroutine, awaited, on_end))


@types.coroutine
def own_task() -> Generator[object, None, None]:
    """For coroutines that ``start`` runs: what follows is in a task of their own, at once where no other one runs."""
    # Within another one, nobody here can tell whether ``start`` is in between: the loop's next turn brings the task.
    yield _OWN_TASK if asyncio.current_task() is None else None


def _start_in_task(coroutine: Coroutine[Any, Any, T], on_end: OnEnd[T]) -> Done[T] | asyncio.Task[None]:
    loop = asyncio.get_running_loop()
    context = contextvars.copy_context()
    rest = _Rest(coroutine, None, on_end)
    task = loop.create_task(rest, context=context)
    # As asyncio's own tasks do around each of their steps; this first one is made here.
    asyncio.tasks._enter_task(loop, task)
    try:
        rest.awaited = context.run(coroutine.send, None)
    except StopIteration as stop:
        rest.is_over = True  # the task ends with the loop's next turn
        return Done(stop.value)
    except BaseException:
        rest.is_over = True
        raise
    finally:
        asyncio.tasks._leave_task(loop, task)
    return task


class _Rest(Coroutine[Any, Any, None], Generic[T]):
    """What is left of a coroutine that has begun, for the task that goes on with it."""

    __slots__ = ("_coroutine", "_has_begun", "_on_end", "awaited", "is_over")

    def __init__(self, coroutine: Coroutine[Any, Any, T], awaited: object, on_end: OnEnd[T]) -> None:
        self._coroutine = coroutine
        self._has_begun = False
        self._on_end = on_end
        self.awaited = awaited
        """What it waits for; None if it is only to go on: the turn of the loop that it waits for has passed when the
        task begins."""
        self.is_over = False

    def send(self, value: Any) -> Any:
        if not self._has_begun:
            self._has_begun = True
            if self.is_over:
                raise StopIteration
            awaited, self.awaited = self.awaited, None
            if awaited is not None:
                return awaited  # went to whoever started it, who is no task: here it goes to the loop's
        return self._step(self._coroutine.send, value)

    def throw(self, *error: Any) -> Any:
        self._has_begun = True
        if self.is_over:
            raise error[0]
        return self._step(self._coroutine.throw, *error)

    def _step(self, step: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return step(*arguments)
        except StopIteration as stop:
            self._on_end(stop.value, None)
        except Exception as error:  # noqa: BLE001  # whatever the coroutine raised is told
            self._on_end(None, error)
        except BaseException as error:  # its task was cancelled, or the process is to end
            self._on_end(None, error)
            raise
        raise StopIteration

    def close(self) -> None:
        self._coroutine.close()

    def __await__(self) -> Generator[Any, Any, None]:
        raise NotImplementedError("for a task alone")

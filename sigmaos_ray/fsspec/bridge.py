"""Between loops and threads: fsspec's coroutines on the client's loop, and their blocking faces.

fsspec has a loop thread and a way of its own to block on it. Ours is the client's: a call crosses threads once, costs
less, can be interrupted, and a proc that waits in it gives its core back.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import re
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from fsspec.spec import AbstractFileSystem

from sigmaos_ray import loopthread

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator

P = ParamSpec("P")
S = TypeVar("S")
T = TypeVar("T")

_COROUTINE_NAME = re.compile("_[^_]")


def on_client_loop(
    method: Callable[Concatenate[S, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[S, P], Coroutine[Any, Any, T]]:
    """The coroutine runs on the client's loop, whichever loop awaits it: users of ``asynchronous=True``, and other
    parts of fsspec, have loops of their own."""

    async def crossing(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        loop = loopthread.shared().loop
        coroutine = method(self, *args, **kwargs)
        # Most calls are there already, from a blocking face: for them a task of its own would be a waste.
        if asyncio.get_running_loop() is loop:
            return await coroutine
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(coroutine, loop))

    functools.update_wrapper(crossing, method)
    return crossing


def add_blocking_faces(cls: type) -> None:
    """Gives ``cls`` a blocking ``x`` for each coroutine, or asynchronous generator, ``_x`` for which fsspec documents
    one, unless the class has its own. Both run through ``self.run``."""
    for name in dir(cls):
        documented = getattr(AbstractFileSystem, name[1:], None)
        if not _COROUTINE_NAME.match(name) or documented is None or getattr(cls, name[1:]) is not documented:
            continue
        if inspect.iscoroutinefunction(getattr(cls, name)):
            setattr(cls, name[1:], _documented(_blocking(name), documented))
        elif inspect.isasyncgenfunction(getattr(cls, name)):
            setattr(cls, name[1:], _documented(_iterating(name), documented))


def _blocking(name: str) -> Callable[..., Any]:
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        return self.run(getattr(self, name)(*args, **kwargs))

    return call


def _iterating(name: str) -> Callable[..., Iterator[Any]]:
    def iterate(self: Any, *args: Any, **kwargs: Any) -> Iterator[Any]:
        items = getattr(self, name)(*args, **kwargs)
        try:
            while (item := self.run(_next(items))) is not _END:
                yield item
        finally:
            self.run(items.aclose())  # whoever stops in the middle of a walk leaves nothing under way

    return iterate


_END = object()


async def _next(items: AsyncIterator[Any]) -> Any:
    return await anext(items, _END)


def _documented(face: Callable[..., Any], documented: Any) -> Callable[..., Any]:
    face.__name__ = documented.__name__
    face.__qualname__ = documented.__qualname__
    face.__doc__ = documented.__doc__
    return face

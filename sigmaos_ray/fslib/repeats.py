"""Which errors are repeated, for how long and with what pause: the one place, for all calls by pathname (E-6).

A call is repeated by whoever has all of it in hand, from the pathname on: what a try did is then looked up anew. So
of calls within calls the outermost one repeats, and what is below it tries once.
"""

from __future__ import annotations

import asyncio
import time
from contextvars import Context, ContextVar, copy_context
from typing import TYPE_CHECKING, Final, TypeVar

from sigmaos_ray import debug, serr
from sigmaos_ray.sessp.aside import leave_if_direct
from sigmaos_ray.sigmap import path

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sigmaos_ray.config import Config

T = TypeVar("T")

_log = debug.selector("WALK")

Errors = tuple[type[serr.SigmaError], ...]

NEVER_RAN: Final[Errors] = (serr.Unreachable, serr.NotLeading, serr.UnknownFid)
"""The server did not get the request, or refused it unseen. For changes: whatever it was may be sent again. A union
without an entry, which one may be about to enter, is repeated as well, by every call."""
LOOKED: Final[Errors] = (*NEVER_RAN, serr.IOErr)
"""Also where nobody knows whether the server got the request: for what only looks."""
MARKED: Final[Errors] = (*NEVER_RAN, *serr.SESSION_ERRORS)
"""For changes that look for their own mark first: a second try finds what the first one did."""

_is_repeated: ContextVar[bool] = ContextVar("is_repeated", default=False)
"""True within a call that is repeated as a whole."""


def outermost() -> Context:
    """For a task whose calls nobody repeats as a whole, though it is begun within one that is."""
    context = copy_context()
    context.run(_is_repeated.set, False)
    return context


class UnreachableForGood(serr.Unreachable):
    """There is no use in trying again: a client that was disconnected, links that go in circles."""


class Repeats:
    """Repeats the calls of one client."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self.closed = False
        """True once the client is closed: nothing is tried again."""

    async def call(self, once: Callable[[], Awaitable[T]], errors: Errors) -> T:
        """Runs ``once`` until it works, fails by another error, or has failed for ``walk.patience_s``: then raises its
        last error. The first time it is repeated at once: it may be known by then where to go."""
        if _is_repeated.get():
            return await once()
        token = _is_repeated.set(True)
        try:
            ends_s: float | None = None
            while True:
                try:
                    return await once()
                except serr.SigmaError as error:
                    if self.closed or not _may_repeat(error, errors):
                        raise
                    # Of a thread's own way: from the beginning, on the loop.
                    leave_if_direct()
                    # From the first failure on: a try that waited long for its server has not used up what the next
                    # one needs to be found.
                    now_s = time.monotonic()
                    is_first = ends_s is None
                    ends_s = now_s + self._config.walk.patience_s if ends_s is None else ends_s
                    if now_s >= ends_s:
                        raise
                    _log(f"again: {error}")
                if not is_first:
                    await asyncio.sleep(self._config.walk.retry_pause_s)
        finally:
            _is_repeated.reset(token)


def _may_repeat(error: serr.SigmaError, errors: Errors) -> bool:
    if isinstance(error, UnreachableForGood):
        return False
    return isinstance(error, errors) or (isinstance(error, serr.NotFound) and path.is_union(error.obj))

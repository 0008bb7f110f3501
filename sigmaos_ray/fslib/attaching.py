"""Attaching to whichever of several addresses serves: that of who leads, where others stand by or are dead.

Dead machines do not answer, so no address is waited for before the next one is tried. Who stands by refuses, and may
say who leads; it may lead itself by the time that the others were given up, so it is asked again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from sigmaos_ray import serr
from sigmaos_ray.fslib.repeats import UnreachableForGood

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence
    from typing import Any

    from sigmaos_ray.config import Locating

T = TypeVar("T")

_LEADERS_MAX: Final = 16
"""Addresses that are taken on because somebody named them."""


class Search(Generic[T]):
    """One search: ``run`` it once."""

    def __init__(
        self,
        addresses: Sequence[str],
        attach_at: Callable[[str], Coroutine[Any, Any, T]],
        give_back: Callable[[T], None],
        limits: Locating,
        *,
        follows: bool = False,
        but_not: str = "",
    ) -> None:
        """``attach_at`` attaches at one address; ``give_back`` frees what it returned when another was quicker.
        ``follows``: asks the leader, too, whom one that stands by names. ``but_not``: the address that is not meant,
        whoever names it."""
        self._attach_at = attach_at
        self._give_back = give_back
        self._limits = limits
        self._follows = follows
        self._untried = deque(dict.fromkeys(address for address in addresses if address != but_not))
        self._known = {but_not, *self._untried}
        self._named_count = 0
        self._refused: list[str] = []
        """Those who stand by."""
        self._tasks: dict[asyncio.Task[T], str] = {}
        self._failure: serr.SigmaError = serr.Unreachable(",".join(addresses), "an endpoint without an address")

    async def run(self) -> T:
        """What the first that serves was attached to with. Unreachable if none does; other errors than those of lost or
        refusing servers at once."""
        try:
            while self._untried or self._tasks:
                if self._untried:
                    self._try_next()
                found = await self._next_outcome()
                if found is not None:
                    return found
        finally:
            await self._end()
        raise self._failure

    def _try_next(self) -> None:
        address = self._untried.popleft()
        task = asyncio.create_task(self._attach_at(address), name=f"attach-{address}")
        self._tasks[task] = address

    async def _next_outcome(self) -> T | None:
        """What one of them was attached to with; None: go on."""
        pause_s = self._limits.stagger_s if self._untried else self._limits.ask_again_s if self._refused else None
        done, _ = await asyncio.wait(self._tasks, timeout=pause_s, return_when=asyncio.FIRST_COMPLETED)
        if not done and not self._untried:
            self._untried.extend(self._refused)
            self._refused = []
        for task in done:
            address = self._tasks.pop(task)
            try:
                found = task.result()
            except UnreachableForGood:
                raise
            except (serr.Unreachable, serr.IOErr, serr.Closed) as error:
                # Also of one that may have got it: an attach that nobody uses does nothing.
                self._failure = serr.Unreachable(error.obj or address, error.msg)
                if isinstance(error, serr.NotLeading):
                    self._refused_by(address, error.leader)
            except serr.Inval as error:  # no address; or the server says so of what is asked for, as others would
                self._failure = error
            else:
                return found
        return None

    def _refused_by(self, address: str, leader: Sequence[str]) -> None:
        self._refused.append(address)
        for other in leader if self._follows else ():
            if other not in self._known and self._named_count < _LEADERS_MAX:
                self._named_count += 1
                self._known.add(other)
                self._untried.appendleft(other)

    async def _end(self) -> None:
        """Ends what is under way, and gives back what came of it."""
        tasks = set(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for task in tasks:
            if not task.cancelled() and task.exception() is None:
                self._give_back(task.result())

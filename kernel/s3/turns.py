"""Whose request runs next: a bounded number of threads, shared so that no client has them all. Pure."""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from typing import TYPE_CHECKING, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Hashable

W = TypeVar("W")

SHARE: Final = 2
"""A client gets one more thread while it holds fewer than so many times those that are free: of 16, one alone gets 11,
and whoever comes next finds 5."""


class Turns(Generic[W]):
    """Threads that are free, and who waits for one, in turn: first one of each client, then the next of each."""

    def __init__(self, count: int) -> None:
        self.free = count
        self._held: Counter[Hashable] = Counter()
        self._waiting: OrderedDict[Hashable, deque[W]] = OrderedDict()

    def take(self, who: Hashable) -> bool:
        """Takes a thread if ``who`` may have one now; else let it ``wait``."""
        # Nobody overtakes requests of his own that wait already.
        if who in self._waiting or not self._admits(who):
            return False
        self._enter(who)
        return True

    def wait(self, who: Hashable, waiter: W) -> None:
        self._waiting.setdefault(who, deque()).append(waiter)

    def withdraw(self, who: Hashable, waiter: W) -> None:
        """A waiter gave up. ValueError if it does not wait."""
        waiters = self._waiting[who]
        waiters.remove(waiter)
        if not waiters:
            del self._waiting[who]

    def leave(self, who: Hashable) -> list[W]:
        """Gives a thread back; returns those whose turn has come. They hold their threads already."""
        self.free += 1
        self._held[who] -= 1
        # A client that holds nothing must leave no trace: there is a new one for each session.
        if not self._held[who]:
            del self._held[who]
        return self._next()

    def _next(self) -> list[W]:
        chosen: list[W] = []
        while self.free:
            who = next((each for each in self._waiting if self._admits(each)), None)
            if who is None:
                break
            waiters = self._waiting[who]
            chosen.append(waiters.popleft())
            # Behind the other clients: the next thread is for one of them, if they may have it.
            self._waiting.move_to_end(who)
            if not waiters:
                del self._waiting[who]
            self._enter(who)
        return chosen

    def _admits(self, who: Hashable) -> bool:
        return self._held[who] < SHARE * self.free if who in self._held else self.free > 0

    def _enter(self, who: Hashable) -> None:
        self.free -= 1
        self._held[who] += 1

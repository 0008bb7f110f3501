"""Watches: who waits for changes of which directory. Pure but for the asyncio futures that waiters sleep on.

Events of one watch queue until they are read; none is lost, none told twice, all in order. A queue that nobody reads
is bounded, and so are all queues of a server together: past a bound the watch ends with ``Version``, and its owner
lists the directory again. To drop some events and go on is no choice: a watcher that missed one would never know.
"""

from __future__ import annotations

import asyncio
import enum
from collections import deque
from typing import TYPE_CHECKING, Final

import msgspec

from sigmaos_ray import config as configuration
from sigmaos_ray import debug, serr

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sigmaos_ray.config import Store

_log = debug.selector("WATCH")

EVENTS_FAIR: Final = 1000
"""What each watch may have unread, whatever the others have: one that nobody reads must not end those that are read."""


class EventKind(enum.IntEnum):
    """What happened to an entry; the numbers are the wire's. A rename is a removal and a creation."""

    CREATED = 0
    REMOVED = 1


class Event(msgspec.Struct, frozen=True):
    """One change of a watched directory's entries."""

    kind: EventKind
    name: str


class ServedWatch:
    """One watcher of one directory. Owned by a fid; ends by ``WatchTable.drop``, or with the directory."""

    __slots__ = ("_ended", "_events", "_table", "_waiter", "dir_path")

    def __init__(self, table: WatchTable, dir_path: int) -> None:
        self._table = table
        self.dir_path = dir_path
        self._events: deque[Event] = deque()
        self._ended: serr.SigmaError | None = None
        self._waiter: asyncio.Future[None] | None = None

    async def read(self, events_max: int | None = None) -> list[Event]:
        """What happened since the last read, at most ``events_max`` of it; blocks until there is something. Raises the
        error that the watch ended with, once its events are read. One reader at a time."""
        while not self._events:
            if self._ended is not None:
                raise self._ended
            if self._waiter is None or self._waiter.done():
                self._waiter = asyncio.get_running_loop().create_future()
            # Shielded: a reader that is cancelled leaves the future for the next one, instead of cancelling it.
            await asyncio.shield(self._waiter)
        count = len(self._events) if events_max is None else min(events_max, len(self._events))
        self._table.queued_count -= count
        return [self._events.popleft() for _ in range(count)]

    def forget(self) -> None:
        """Drops what was not read; it counts no more towards the server's bound."""
        self._table.queued_count -= len(self._events)
        self._events.clear()

    def queue(self, event: Event) -> None:
        """Queues an event for the reader; past a bound it ends the watch instead. What is queued stays to be read, and
        then the reader gets the error: it knows all up to there, and that more has happened."""
        if self._ended is not None:
            return
        table, queued = self._table, len(self._events)
        # Ended, not held up: the publisher is a change that another client waits for.
        if queued >= table.limits.watch_events_max:
            self.end(serr.Version(msg=f"over {table.limits.watch_events_max} unread events"))
            return
        if queued >= EVENTS_FAIR and table.queued_count >= table.limits.watch_events_total_max:
            self.end(serr.Version(msg=f"the server's watches have over {table.queued_count} unread events"))
            return
        self._events.append(event)
        table.queued_count += 1
        self._wake()

    def end(self, error: serr.SigmaError) -> None:
        """The reader gets this error once it has read what is queued. May be repeated: the first error stays."""
        if self._ended is None:
            self._ended = error
            self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class WatchTable:
    """All watches of one server, by the qid path of the directory watched. Used from the server's loop only. Nothing
    here waits: so a node can publish a change and show its new version at one moment (see ``node``)."""

    def __init__(self, limits: Store | None = None) -> None:
        self.limits = limits or configuration.current().store
        self.queued_count = 0
        """Events of all watches that were not read."""
        self._watches: dict[int, set[ServedWatch]] = {}

    def add(self, dir_path: int) -> ServedWatch:
        """A new watch, which hears of all that is published from now on. Whoever adds it drops it."""
        watch = ServedWatch(self, dir_path)
        self._watches.setdefault(dir_path, set()).add(watch)
        if _log.on:
            _log(f"{dir_path:x} is watched")
        return watch

    def drop(self, watch: ServedWatch) -> None:
        """Ends a watch: its reader gets Closed. Dropping twice is harmless."""
        # None if the directory was removed meanwhile: what is queued is dropped all the same.
        watches = self._watches.get(watch.dir_path)
        if watches is not None:
            watches.discard(watch)
            if not watches:
                del self._watches[watch.dir_path]
        watch.forget()  # first: a reader that waits is to get Closed, not what nobody wants any more
        watch.end(serr.Closed(msg="watch closed"))

    def publish(self, dir_path: int, *events: Event) -> None:
        """Tells every watch of the directory, in order. Call it at the moment at which the change shows, without an
        ``await`` in between: a watch that is set before it hears of the change, one that is set after it sees it."""
        watches = self._watches.get(dir_path, ())
        if watches and _log.on:
            _log(f"{dir_path:x}: {', '.join(f'{event.kind.name.lower()} {event.name}' for event in events)}")
        for watch in watches:
            for event in events:
                watch.queue(event)

    def created(self, dir_path: int, name: str) -> None:
        """Publishes one entry that came."""
        self.publish(dir_path, Event(EventKind.CREATED, name))

    def removed(self, dir_path: int, name: str) -> None:
        """Publishes one entry that went."""
        self.publish(dir_path, Event(EventKind.REMOVED, name))

    def end(self, dir_path: int) -> None:
        """The directory itself is gone: its watches end with Closed (W-4), once their events are read."""
        for watch in self._watches.pop(dir_path, set()):
            watch.end(serr.Closed(msg="the watched directory was removed"))

    def __len__(self) -> int:
        return sum(len(watches) for watches in self._watches.values())

    def watched(self) -> Iterable[int]:
        """The qid paths of the directories that somebody watches."""
        return self._watches.keys()

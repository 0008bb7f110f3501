"""Waiting for changes, blocking. Ctrl-C ends a wait; closing a watch, or the client, ends the waits of all threads."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Self

from sigmaos_ray import serr
from sigmaos_ray.blocking.dirs import DirsFace
from sigmaos_ray.sigmap import OREAD

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from sigmaos_ray.blocking.face import Runner
    from sigmaos_ray.fslib import DirWatch, WatchEvent
    from sigmaos_ray.sigmap import Mode, Stat


class Watch:
    """The blocking face of ``DirWatch``: ``with sc.watch_dir(pn) as w: for event in w: ...``"""

    def __init__(self, sc: Runner, watch: DirWatch) -> None:
        self._sc = sc
        self._watch = watch

    def __enter__(self) -> Self:
        self._sc.run(self._watch.__aenter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._sc.run(self._watch.__aexit__(kind, error, traceback))

    def __iter__(self) -> Iterator[WatchEvent]:
        while True:
            yield self.next_event()

    def next_event(self, timeout_s: float | None = None) -> WatchEvent:
        """The next change. Timeout if there is none in time; the watch stays set."""
        event: WatchEvent = self._sc.run(self._watch.next_event(timeout_s))
        return event

    def read(self, timeout_s: float | None = None) -> list[WatchEvent]:
        """All changes since the last read; blocks until there is one."""
        events: list[WatchEvent] = self._sc.run(self._watch.read(timeout_s))
        return events


class WatchesFace(DirsFace):
    """See ``fslib.watches``."""

    def watch_dir(self, pn: str) -> Watch:
        return Watch(self, self._clnt.watch_dir(pn))

    def wait_create(self, pn: str, timeout_s: float | None = None) -> None:
        self.run(self._clnt.wait_create(pn, timeout_s))

    def wait_remove(self, pn: str, timeout_s: float | None = None) -> None:
        self.run(self._clnt.wait_remove(pn, timeout_s))

    def wait_entries(self, pn: str, n: int, timeout_s: float | None = None) -> list[str]:
        return self.run(self._clnt.wait_entries(pn, n, timeout_s))

    def wait_empty(self, pn: str, timeout_s: float | None = None) -> None:
        self.run(self._clnt.wait_empty(pn, timeout_s))

    def open_wait(self, pn: str, mode: Mode = OREAD, timeout_s: float | None = None) -> int:
        return self.run(self._clnt.open_wait(pn, mode, timeout_s))

    def get_file_watch(self, pn: str, timeout_s: float | None = None) -> bytes:
        return self.run(self._clnt.get_file_watch(pn, timeout_s))

    def get_file_json_watch(self, pn: str, timeout_s: float | None = None) -> Any:
        return self.run(self._clnt.get_file_json_watch(pn, timeout_s))

    def read_dir_watch(self, pn: str, wanted: Callable[[list[Stat]], bool], timeout_s: float | None = None) -> None:
        """``wanted`` runs in the calling thread, and may use the client."""
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            with self.watch_dir(pn) as watch:
                while wanted(self.get_dir(pn)):
                    left_s = None if deadline_s is None else deadline_s - time.monotonic()
                    if left_s is not None and left_s <= 0:
                        raise serr.Timeout(pn, f"not within {timeout_s} s")
                    try:
                        watch.read(left_s)
                    except (*serr.SESSION_ERRORS, serr.Version):
                        break
                else:
                    return

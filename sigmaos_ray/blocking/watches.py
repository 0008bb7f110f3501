"""Waiting for changes, blocking. Ctrl-C ends a wait; closing a watch, or the client, ends the waits of all threads."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Self

from sigmaos_ray import serr
from sigmaos_ray.blocking.calls import FsCalls
from sigmaos_ray.deadlines import ending_within

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from sigmaos_ray.blocking.face import Face
    from sigmaos_ray.fslib import DirWatch, WatchEvent
    from sigmaos_ray.sigmap import Stat


class Watch:
    """The blocking face of ``DirWatch``: ``with sc.watch_dir(pn) as w: for event in w: ...``"""

    def __init__(self, sc: Face, watch: DirWatch) -> None:
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
        return self._sc.run(self._watch.next_event(timeout_s))

    def read(self, timeout_s: float | None = None) -> list[WatchEvent]:
        """All changes since the last read; blocks until there is one."""
        return self._sc.run(self._watch.read(timeout_s))


class WatchesFace(FsCalls):
    """See ``fslib.watches``."""

    def watch_dir(self, pn: str) -> Watch:
        """A watch of a directory's entries, one level deep: ``with sc.watch_dir(pn) as w: for event in w``."""
        return Watch(self, self._clnt.watch_dir(pn))

    def wait_until(
        self,
        directory: str,
        reached: Callable[[], bool],
        timeout_s: float | None = None,
        *,
        of: Callable[[str], bool] | None = None,
    ) -> None:
        """Returns once ``reached()`` is true: looks, and looks again after each change of the directory's entries, or
        of those alone whose names ``of`` is true of. Timeout past ``timeout_s`` (0: look once). They run in the calling
        thread, and may use the client: within the time-out, too."""
        ends_s = None if timeout_s is None else time.monotonic() + timeout_s
        try:
            with ending_within(timeout_s):
                while not self._reached_in(directory, reached, ends_s, of):
                    continue
        except serr.Timeout as error:
            if ends_s is None or time.monotonic() < ends_s:  # of something else: the caller's own
                raise
            raise serr.Timeout(directory, f"not done in {timeout_s:g} s") from error

    def _reached_in(
        self,
        directory: str,
        reached: Callable[[], bool],
        ends_s: float | None,
        of: Callable[[str], bool] | None,
    ) -> bool:
        """True once it is; False if the watch is over: the server went away, or the directory was removed."""
        with self.watch_dir(directory) as watch:
            while not reached():
                try:
                    while not any(of is None or of(event.name) for event in watch.read(_left_s(ends_s))):
                        continue
                except (*serr.SESSION_ERRORS, serr.Version):
                    break
            else:
                return True
        return reached()

    def read_dir_watch(self, pn: str, wanted: Callable[[list[Stat]], bool], timeout_s: float | None = None) -> None:
        """Hands ``wanted`` the entries, again after each change, for as long as it returns true (it wants to see more).
        Timeout past ``timeout_s`` (0: look once). It runs in the calling thread, and may use the client."""
        self.wait_until(pn, lambda: not wanted(self.run(self._clnt.core.list_dir(pn, at_once=False))), timeout_s)


def _left_s(ends_s: float | None) -> float | None:
    return None if ends_s is None else max(ends_s - time.monotonic(), 0.0)

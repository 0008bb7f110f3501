"""Faults by named selector, injected where the code says so (G-20).

``SIGMAFAIL`` is JSON: ``{"seed": 7, "events": {"UX_CRASH": {"maxinterval_ms": 500, "prob": 0.3}}}``. There are two
kinds of labels. A *point* is a place in the code; whatever passes it meets the fault:

    _delay = crash.point("NAMED_COMMIT_DELAY")
    if _delay.on:
        await _delay.passed_by_task()

so that a point which is off costs one attribute test. An *event* happens to a process at any time: who owns the
process arms it (``arm``), and a thread fires it after random pauses. What a fault does, its label's ending says:
``_CRASH`` ends the process with exit code 5, at once and without any cleaning up; ``_DELAY`` holds up; ``_PARTITION``
cuts what its owner says. Whoever has faults of its own declares them (``sigmaos_ray.selectors``), but any label works.
"""

from __future__ import annotations

import asyncio
import os
import random
import threading
import time
from typing import TYPE_CHECKING, Any, Final, Self

import msgspec

from sigmaos_ray import config, debug, decoding, serr

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_log = debug.selector("CRASH")

CRASH_CODE: Final = 5
"""The exit code of a process that a fault ended."""

KNOWN: Final[Mapping[str, str]] = {
    "PROC_CRASH": "event: a proc's process ends while its program runs",
    "PROC_START_CRASH": "point: a proc's process ends before its program runs",
    "PROC_EXIT_CRASH": "point: a proc's process ends after its program; what that told itself counts",
    "PROC_START_DELAY": "point: a program is held up before it runs",
}
"""The library's own labels. Services and programs declare theirs (``sigmaos_ray.selectors``)."""


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When a fault fires. All that is said must hold."""

    prob: float = 1.0
    """Of each time it could fire, how often it does."""
    maxinterval_ms: float = 0.0
    """Of an event: it could fire again and again after random pauses of at most this; 0: once."""
    start_ms: float = 0.0
    """Not before the process is so old."""
    path: str = ""
    """Not before this file of the machine exists."""
    delay_ms: float = 0.0
    """How long a delay is."""
    n: int = 0
    """At most so many times in one process; 0: no limit."""

    def __post_init__(self) -> None:
        if not 0 <= self.prob <= 1:
            raise ValueError(f"prob {self.prob} is not between 0 and 1")
        if min(self.maxinterval_ms, self.start_ms, self.delay_ms, self.n) < 0:
            raise ValueError("times and counts are not negative")


_NEVER: Final = Fault(prob=0.0)


class Spec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What ``SIGMAFAIL`` holds."""

    events: dict[str, Fault] = {}
    seed: int | None = None
    """The same choices in each run, label by label."""

    def __post_init__(self) -> None:
        for label, fault in self.events.items():
            _action(label)
            if label.endswith("_DELAY") and not fault.delay_ms:
                raise ValueError(f"{label} needs delay_ms")


_decode: Final = decoding.json_decoder(Spec)


def parse(text: str) -> Spec:
    """Inval, with the place, for what is no SIGMAFAIL. The empty string asks for nothing."""
    try:
        return _decode(text) if text.strip() else Spec()
    except (msgspec.DecodeError, ValueError) as error:
        raise serr.Inval("SIGMAFAIL", str(error)) from error


def _action(label: str) -> str:
    action = label.rpartition("_")[2]
    if action not in ("CRASH", "PARTITION", "DELAY"):
        raise ValueError(f"{label} ends in none of _CRASH, _PARTITION, _DELAY")
    return action


class Point:
    """One label in this process. ``on`` is the test that callers make before they call anything."""

    __slots__ = ("_action", "_chance", "_cut", "_fault", "_fired_count", "label", "on")

    def __init__(self, label: str) -> None:
        self.label = label
        self.on = False
        self._action = _action(label)
        self._cut: Callable[[], None] | None = None
        self._fault = _NEVER
        self._chance = random.Random()
        self._set(_settings.spec)

    def _set(self, spec: Spec) -> None:
        self.on = self.label in spec.events
        self._fired_count = 0
        if self.on:
            _log(f"{self.label} may fire: {spec.events[self.label]}")
            self._fault = spec.events[self.label]
            # Numbers of its own for each label: how often other points are passed does not change what happens here.
            self._chance = random.Random(None if spec.seed is None else f"{spec.seed} {self.label} {_settings.who}")

    def passed(self) -> None:
        """A thread passes the point: it may be held up, or never come back."""
        if self._is_due():
            time.sleep(self._fire())

    async def passed_by_task(self) -> None:
        """A task passes the point; others run on while it is held up."""
        if self._is_due():
            await asyncio.sleep(self._fire())

    def _is_due(self) -> bool:
        if not self.on or self._is_used_up() or not self._may_begin():
            return False
        return self._chance.random() < self._fault.prob

    def _is_used_up(self) -> bool:
        return bool(self._fault.n) and self._fired_count >= self._fault.n

    def _may_begin(self) -> bool:
        fault = self._fault
        is_young = time.monotonic() - _settings.began_s < fault.start_ms / 1e3
        return not is_young and (not fault.path or os.path.exists(fault.path))

    def _fire(self) -> float:
        """Returns how long to hold up, in seconds."""
        self._fired_count += 1
        debug.always(f"{self.label} fires")
        if self._action == "DELAY":
            return self._fault.delay_ms / 1e3
        if self._action == "PARTITION":
            if self._cut is not None:
                self._cut()
            return 0.0
        # No handlers, no ``finally``, no buffers that are written: what a machine that fails would not do either.
        os._exit(CRASH_CODE)

    def _run(self, closed: threading.Event) -> None:
        """The thread of an event."""
        while True:
            while not self._may_begin():
                if closed.wait(config.current().observing.fault_poll_s):
                    return
            # Before the first time, too: processes that begin together are not to fail together.
            if closed.wait(self._chance.random() * self._fault.maxinterval_ms / 1e3):
                return
            self.passed()
            if not self._fault.maxinterval_ms or self._is_used_up():
                return


class _Settings:
    """What the environment, or a later ``configure``, asks for."""

    def __init__(self) -> None:
        self.spec = Spec()
        self.who = ""
        self.began_s = time.monotonic()
        self.points: dict[str, Point] = {}


_settings = _Settings()


def point(label: str) -> Point:
    """The point of that label; the same object for the same label. ValueError for one that says no action."""
    present = _settings.points.get(label)
    if present is None:
        present = _settings.points[label] = Point(label)
    return present


def configure(text: str | None = None, *, who: str = "") -> None:
    """Sets the faults of this process, taken from the environment if ``text`` is None. ``who``, the pid of the proc or
    the name of the kernel part, goes into the choices: two processes with one seed do not fail alike. What is no
    SIGMAFAIL is told on stderr, and asks for nothing."""
    try:
        spec = parse(os.environ.get("SIGMAFAIL", "") if text is None else text)
    except serr.Inval as error:
        debug.error(str(error))
        spec = Spec()
    is_quiet = not spec.events and not _settings.spec.events
    _settings.spec, _settings.who, _settings.began_s = spec, who, time.monotonic()
    if is_quiet:
        return  # as for most procs, each of which comes here
    for each in _settings.points.values():
        each._set(spec)  # the module's own class


class Armed:
    """An event that waits for its time. ``close`` it, or use it as a context manager."""

    def __init__(self, event: Point) -> None:
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None
        if event.on:
            self._thread = threading.Thread(
                target=event._run, args=(self._closed,), name=f"fail-{event.label}", daemon=True
            )
            self._thread.start()

    def close(self) -> None:
        """It does not happen any more. May be repeated."""
        self._closed.set()
        # What a partition cuts may close what armed it, in this very thread.
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


def arm(label: str, cut: Callable[[], None] | None = None) -> Armed:
    """Lets an event happen to this process, from now until the result is closed. ``cut``: what a partition does; it is
    called from a thread of its own."""
    event = point(label)
    event._cut = cut
    return Armed(event)


configure()

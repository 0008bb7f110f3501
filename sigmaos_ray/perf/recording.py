"""One record at work: whatever kind of profile is asked for, begun, ended, and written with its flame graphs."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from sigmaos_ray import debug, extras, serr
from sigmaos_ray.perf import flame, pyspy
from sigmaos_ray.perf.contention import Contention
from sigmaos_ray.perf.memory import MemoryRecord
from sigmaos_ray.perf.profile import BYTES, Profile
from sigmaos_ray.perf.sampler import RATE_HZ, Sampler
from sigmaos_ray.perf.selection import Kind

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PROFILES: Final = (Kind.CPU, Kind.MEMORY, Kind.MUTEX, Kind.BLOCK)
"""Kinds that are profiles: stacks with weights."""
SECONDS_MAX: Final = 600.0
RATE_HZ_MAX: Final = 1000.0

_INSIDE: Final = "the sampler inside the process"


class _Recorder(Protocol):
    """One way to record. ``stop`` ends it and returns what was recorded."""

    def start(self) -> None: ...
    def stop(self) -> Profile: ...


class _Sampled:
    """The sampler as a recorder of one of the two things that it sees."""

    def __init__(self, kind: Kind, rate_hz: float) -> None:
        self._kind = kind
        self._sampler = Sampler(rate_hz, waits=kind is Kind.BLOCK)

    def start(self) -> None:
        self._sampler.start()

    def stop(self) -> Profile:
        self._sampler.stop()
        return self._sampler.idle if self._kind is Kind.BLOCK else self._sampler.busy


class _Contended:
    """``Contention`` as a recorder."""

    def __init__(self) -> None:
        self._contention = Contention()

    def start(self) -> None:
        self._contention.start()

    def stop(self) -> Profile:
        self._contention.stop()
        return self._contention.profile


class Recording:
    """A profile of this process, from ``start`` until ``stop``. Memory and locks: one at a time in a process. Whoever
    starts it stops it."""

    def __init__(self, kind: Kind, raw: Path, rate_hz: float = RATE_HZ, *, may_spy: bool = True) -> None:
        """``raw``: the file that the record is written to. ``may_spy``: CPU time by py-spy, if the system lets it."""
        self._kind = kind
        self._may_spy = may_spy
        self._rate_hz = rate_hz
        self._raw = raw
        self.how = ""
        """Who samples, and what kept py-spy from it; known once it is started."""
        self._recorder: _Recorder | None = None

    def start(self) -> None:
        """Blocks until it records, some tenths of a second with py-spy. RuntimeError for a kind that is recorded
        already, MissingExtra for one whose recorder is not installed."""
        recorder = self._make()
        recorder.start()
        self._recorder = recorder

    def _make(self) -> _Recorder:
        match self._kind:
            case Kind.MEMORY:
                self.how = "memray"
                return MemoryRecord(self._raw)
            case Kind.MUTEX:
                self.how = "timed locks"
                return _Contended()
            case Kind.BLOCK:
                self.how = _INSIDE
                return _Sampled(Kind.BLOCK, self._rate_hz)
        return self._make_cpu()

    def _make_cpu(self) -> _Recorder:
        # py-spy is started to know whether it can: only it finds out what the system forbids.
        if not self._may_spy or not pyspy.is_wanted():
            self.how = _INSIDE
            return _Sampled(Kind.CPU, self._rate_hz)
        spy = pyspy.PySpy(os.getpid(), self._rate_hz)
        try:
            spy.start()
        except pyspy.Denied as denied:
            self.how = f"{_INSIDE}: {denied}"
            return _Sampled(Kind.CPU, self._rate_hz)
        self.how = "py-spy"
        return _Attached(spy)

    def stop(self) -> Profile:
        """Ends it, and writes the raw record. Empty, and nothing is written, if it had not begun, or has ended."""
        recorder, self._recorder = self._recorder, None
        if recorder is None:
            return Profile()
        profile = recorder.stop()
        if self._kind is not Kind.MEMORY:  # memray writes its own
            self._raw.write_text(profile.to_text())
        return profile


class _Attached:
    """py-spy, already attached, as a recorder."""

    def __init__(self, spy: pyspy.PySpy) -> None:
        self._spy = spy

    def start(self) -> None:
        pass

    def stop(self) -> Profile:
        try:
            return self._spy.stop()
        except pyspy.Denied as denied:
            debug.error(str(denied))
            return Profile()


def write_graphs(profile: Profile, raw: Path, title: str) -> list[Path]:
    """The flame graphs beside a raw record: for a browser, and for speedscope."""
    svg, scope = raw.with_suffix(".svg"), raw.with_suffix(".speedscope.json")
    svg.write_text(flame.svg(profile, title))
    scope.write_bytes(flame.speedscope(profile, title))
    return [svg, scope]


class ProfileResult(NamedTuple):
    """A profile that was taken."""

    profile: Profile
    how: str
    """Who sampled, and what kept py-spy from it."""


_taking: Final = threading.Lock()
"""Held by whoever takes a profile on demand: one at a time, since each slows the process down."""


def take(
    kind: Kind,
    seconds: float,
    rate_hz: float,
    raw: Path,
    *,
    may_spy: bool = True,
    wait: Callable[[float], object] = time.sleep,
) -> ProfileResult:
    """Profiles this process for so long; blocks for it. Inval for a profile that cannot be taken, Exists while another
    one is, NotSupported where the package that takes it is not installed. ``may_spy``: by py-spy if the system lets it.
    ``wait``: blocks for so many seconds; it may return earlier, and the profile ends then."""
    check(kind, seconds, rate_hz)
    # Not by waiting: it would be a profile of another time than the one that was asked for.
    if not _taking.acquire(blocking=False):
        raise serr.Exists("profile", "another one of this process is being taken: try again when it is over")
    try:
        recording = Recording(kind, raw, rate_hz, may_spy=may_spy)
        try:
            recording.start()
        except RuntimeError as error:
            raise serr.Exists("profile", str(error)) from error
        except extras.MissingExtra as error:
            raise serr.NotSupported("profile", str(error)) from error
        try:
            wait(seconds)
        finally:  # also for who is interrupted meanwhile: it would go on sampling
            profile = recording.stop()
        return ProfileResult(profile, recording.how)
    finally:
        _taking.release()


def check(kind: Kind, seconds: float, rate_hz: float) -> None:
    """Inval for a profile that cannot be taken."""
    if kind not in PROFILES:
        raise serr.Inval(kind.value, f"one of {', '.join(kind.value for kind in PROFILES)}")
    if not 0 < seconds <= SECONDS_MAX:
        raise serr.Inval("seconds", f"{seconds:g} is not above 0 and at most {SECONDS_MAX:g}")
    if not 1 <= rate_hz <= RATE_HZ_MAX:
        raise serr.Inval("rate", f"{rate_hz:g} times a second is not between 1 and {RATE_HZ_MAX:g}")


def unit_of(kind: Kind) -> str:
    """The unit of such a profile's weights."""
    return BYTES if kind is Kind.MEMORY else Profile().unit

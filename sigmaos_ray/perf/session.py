"""``Perf``: what a program or a kernel part records of itself, as ``SIGMAPERF`` asks for it (G-4)."""

from __future__ import annotations

import atexit
import os
import signal
import threading
from typing import TYPE_CHECKING, Any, Final, Self

from sigmaos_ray import debug, extras, serr
from sigmaos_ray.perf import selection
from sigmaos_ray.perf.recording import PROFILES, Recording, write_graphs
from sigmaos_ray.perf.sampler import RATE_HZ
from sigmaos_ray.perf.selection import Kind
from sigmaos_ray.perf.series import Ticks, Utilisation, Values

if TYPE_CHECKING:
    from pathlib import Path

_log = debug.selector("PERF")

# What a shell makes of a death by SIGTERM: 128 and the signal's number.
TERMINATED: Final = 143


class Perf:
    """Records from now until ``done``, or the end of the block, what ``SIGMAPERF`` selects for ``selector``; nothing
    and at no cost if that is nothing. The records lie in ``directory()`` as ``<pid>-<what>.out``.

    ``name`` tells records of one proc apart. ``pid``: the proc's own by default. ``spec``, ``where``: in the place of
    ``SIGMAPERF`` and of the directory. SIGTERM and SIGINT, where nobody else handles them, write the records before the
    process ends with 143; so does the end of the interpreter, if ``done`` was forgotten.
    """

    def __init__(
        self,
        selector: str,
        name: str = "",
        *,
        pid: str | None = None,
        spec: str | None = None,
        where: Path | None = None,
        rate_hz: float = RATE_HZ,
    ) -> None:
        """Blocks until it records, some tenths of a second for ``_PPROF``. Inval for a SIGMAPERF that is none."""
        self._kinds = selection.selected(selector, spec)
        self._name = name
        self._pid = debug.who() if pid is None else pid
        self._where = where or selection.directory()
        self._rate_hz = rate_hz
        self._profiles: dict[Kind, Recording] = {}
        self._util: Utilisation | None = None
        self._ticks = Ticks() if Kind.TPT in self._kinds else None
        self._values = Values() if Kind.VAL in self._kinds else None
        self._finishing = threading.Lock()
        self._is_done = not self._kinds
        self._previous: dict[int, Any] = {}
        if self._kinds:
            self._start(selector)

    def _start(self, selector: str) -> None:
        if not self._pid:
            raise serr.Inval(selector, "whose record? a pid must be set")
        self._where.mkdir(parents=True, exist_ok=True)
        for kind in PROFILES:
            if kind in self._kinds:
                self._begin(kind)
        if Kind.UTIL in self._kinds:
            self._util = Utilisation(self._file(Kind.UTIL))
            self._util.start()
        atexit.register(self.done)
        self._catch_signals()
        _log(f"{selector}: {', '.join(sorted(self._kinds))} in {self._where}")

    def _begin(self, kind: Kind) -> None:
        recording = Recording(kind, self._file(kind), self._rate_hz)
        try:
            recording.start()
        except (RuntimeError, extras.MissingExtra) as error:
            # Recorded by somebody else in this process, or not to be recorded here: the program runs all the same.
            debug.error(f"{kind.value} of {self._pid}: {error}")
            return
        self._profiles[kind] = recording
        if recording.how != "py-spy" and kind is Kind.CPU:
            debug.always(f"profile of {self._pid}: by {recording.how}")

    def _file(self, kind: Kind) -> Path:
        return selection.file_of(self._where, self._pid, kind, self._name)

    def files(self) -> list[Path]:
        """The raw records, whether they are written yet or not."""
        return [self._file(kind) for kind in Kind if kind in self._kinds]

    def tpt_tick(self, amount: float) -> None:
        """Adds to what this 20 ms slot has done, for ``_TPT``."""
        if self._ticks is not None:
            self._ticks.tick(amount)

    def val_tick(self, value: float) -> None:
        """Records a value, for ``_VAL``."""
        if self._values is not None:
            self._values.tick(value)

    def done(self) -> None:
        """Ends all and writes the records and their flame graphs; blocks for it. May be repeated. What cannot be
        written is told on stderr: a profile is no reason for a program to fail."""
        # Not by waiting: a signal may come in the midst of it, in this very thread.
        if not self._finishing.acquire(blocking=False) or self._is_done:
            return
        self._is_done = True
        self._release_signals()
        atexit.unregister(self.done)
        try:
            self._write()
        except OSError as error:
            debug.error(f"profile of {self._pid}: {error}")

    def _write(self) -> None:
        for kind, recording in self._profiles.items():
            profile = recording.stop()
            write_graphs(profile, self._file(kind), f"{self._pid} {kind.value}")
        if self._util is not None:
            self._util.stop()
        for kind, series in ((Kind.TPT, self._ticks), (Kind.VAL, self._values)):
            if series is not None:
                self._file(kind).write_text(series.to_text())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.done()

    # -- signals

    def _catch_signals(self) -> None:
        # Python lets only the main thread set handlers; elsewhere ``atexit`` is what is left.
        if threading.current_thread() is not threading.main_thread():
            return
        for number, default in ((signal.SIGTERM, signal.SIG_DFL), (signal.SIGINT, signal.default_int_handler)):
            if signal.getsignal(number) is default:
                self._previous[number] = signal.signal(number, self._end)

    def _release_signals(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        for number, previous in self._previous.items():
            if signal.getsignal(number) == self._end:
                signal.signal(number, previous)
        self._previous.clear()

    def _end(self, number: int, frame: object) -> None:
        self.done()
        # Not by raising: that would come up wherever the main thread is, and the program might catch it.
        os._exit(TERMINATED)


def opened(selector: str, **options: Any) -> Perf | None:
    """A ``Perf`` for parts that must come up whatever ``SIGMAPERF`` says: None where nothing is selected, or where it
    is wrong, which is told on stderr."""
    try:
        perf = Perf(selector, **options)
    except serr.Inval as error:
        debug.error(str(error))
        return None
    return perf if perf.files() else None

"""A sampler inside the process: a thread that looks at the stacks of all other Python threads, many times a second.

CPU time and waiting are told apart by each thread's CPU clock: what the clock advanced by between two looks counts as
CPU time, the rest of the interval as waiting, in the stack that is seen at the second look.
"""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING, Final

from sigmaos_ray.perf.profile import Profile, frame_label

if TYPE_CHECKING:
    from types import CodeType, FrameType

RATE_HZ: Final = 100.0
OWN_THREADS: Final = "sigmaos-perf-"
"""How the names of the threads begin that record: they are left out."""
_DEPTH_MAX: Final = 128
_THREAD_CLOCK: Final = 6
"""Linux: the low bits of a clock id that stands for a thread's CPU time."""


class Sampler:
    """Samples between ``start`` and ``stop``, ``rate_hz`` times a second. ``busy`` is where CPU time went, ``idle``
    where threads waited, if ``waits``. Both are to be read after ``stop``."""

    def __init__(self, rate_hz: float = RATE_HZ, *, waits: bool = False) -> None:
        self.busy = Profile()
        self.idle = Profile()
        self._period_s = 1 / rate_hz
        self._waits = waits
        self._labels: dict[tuple[CodeType, int], str] = {}
        self._clocks: dict[int, float] = {}
        self._names: dict[int, str] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sigmaos-perf-sampler", daemon=True)

    def start(self) -> None:
        """Called once."""
        self._thread.start()

    def stop(self) -> None:
        """Blocks for a look at most. May be repeated."""
        self._ended.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        last_s = time.perf_counter()
        self._look(0.0)
        while not self._ended.wait(self._period_s):
            now_s = time.perf_counter()
            self._look(now_s - last_s)
            last_s = now_s

    def _look(self, interval_s: float) -> None:
        own = threading.get_ident()
        native_ids = {thread.ident: (thread.native_id, thread.name) for thread in threading.enumerate()}
        for ident, frame in sys._current_frames().items():
            native_id, name = native_ids.get(ident, (None, f"thread {ident}"))
            if ident == own or name.startswith(OWN_THREADS):
                continue
            self._count(native_id, name, frame, interval_s)

    def _count(self, native_id: int | None, name: str, frame: FrameType, interval_s: float) -> None:
        # The interpreter may have kept this thread from its looks: the clock then advanced by more than one interval.
        busy_s = min(self._cpu_since(native_id), interval_s)
        idle_s = interval_s - busy_s
        if busy_s <= 0 and not self._waits:
            return
        stack = self._stack(name, frame)
        self.busy.add(stack, round(busy_s * 1e6))
        if self._waits:
            self.idle.add(stack, round(idle_s * 1e6))

    def _cpu_since(self, native_id: int | None) -> float:
        """CPU seconds of a thread since the last look; 0 for one that is new, gone, or not Python's own."""
        if native_id is None:
            return 0.0
        try:
            # The id made by hand, as the kernel reads it: ``time.pthread_getcpuclockid`` may crash the process over a
            # thread that has just ended, where this is an OSError.
            clock_s = time.clock_gettime((~native_id << 3) | _THREAD_CLOCK)
        except OSError:
            return 0.0
        before_s = self._clocks.get(native_id)
        self._clocks[native_id] = clock_s
        return 0.0 if before_s is None else clock_s - before_s

    def _stack(self, name: str, frame: FrameType | None) -> list[str]:
        frames: list[str] = []
        labels = self._labels
        while frame is not None and len(frames) < _DEPTH_MAX:
            code, line = frame.f_code, frame.f_lineno or 0
            label = labels.get((code, line))
            if label is None:
                label = labels[code, line] = frame_label(code.co_qualname, code.co_filename, line)
            frames.append(label)
            frame = frame.f_back
        frames.append(name.replace(";", ","))
        frames.reverse()
        return frames

"""Records over time: CPU utilisation, throughput, values. One line a sample (G-5)."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from sigmaos_ray import config

if TYPE_CHECKING:
    from pathlib import Path


class Utilisation:
    """How much of one core this process uses: a line of ``util%,busy us,total us`` 50 times a second, written to
    ``file`` as they come, between ``start`` and ``stop``."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sigmaos-perf-cpu", daemon=True)

    def start(self) -> None:
        """Called once."""
        self._thread.start()

    def stop(self) -> None:
        """Blocks until the last line is written. May be repeated."""
        self._ended.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        with self._file.open("w") as out:
            busy_s, total_s = time.process_time(), time.perf_counter()
            slot_s = config.current().observing.record_slot_s
            ends = False
            while not ends:
                # Looked at only after the line is written: the last slot, cut short by ``stop``, counts as well.
                ends = self._ended.wait(slot_s)
                now_busy_s, now_s = time.process_time(), time.perf_counter()
                busy_us, total_us = (now_busy_s - busy_s) * 1e6, (now_s - total_s) * 1e6
                out.write(f"{100 * busy_us / total_us:.2f},{busy_us:.0f},{total_us:.0f}\n")
                busy_s, total_s = now_busy_s, now_s


class Ticks:
    """What a program counts, summed per slot of 20 ms. Any thread may tick."""

    def __init__(self) -> None:
        self._slot_s = config.current().observing.record_slot_s
        self._slots: dict[int, float] = {}
        self._adding = threading.Lock()

    def tick(self, amount: float) -> None:
        """Adds to the present slot."""
        slot = int(time.time() / self._slot_s)
        with self._adding:
            self._slots[slot] = self._slots.get(slot, 0.0) + amount

    def to_text(self) -> str:
        """Lines of ``<unix us>us,<sum>``; slots without a tick between others are 0."""
        with self._adding:
            slots = dict(self._slots)
        if not slots:
            return ""
        every = range(min(slots), max(slots) + 1)
        return "".join(f"{round(slot * self._slot_s * 1e6)}us,{slots.get(slot, 0.0):.15g}\n" for slot in every)


class Values:
    """Values as they come, each with its time. Any thread may add one."""

    def __init__(self) -> None:
        self._values: list[tuple[int, float]] = []

    def tick(self, value: float) -> None:
        """Adds one, as of now."""
        # Without a lock: an append is a single step of the interpreter.
        self._values.append((time.time_ns() // 1000, value))

    def to_text(self) -> str:
        """Lines of ``<unix us>us,<value>``."""
        return "".join(f"{at_us}us,{value:.15g}\n" for at_us, value in list(self._values))

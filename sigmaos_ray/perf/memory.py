"""Memory by memray: every allocation of the process while it is on, and who held what at the peak."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from sigmaos_ray import extras
from sigmaos_ray.perf.profile import BYTES, Profile, frame_label

if TYPE_CHECKING:
    from pathlib import Path

    import memray


class MemoryRecord:
    """Records between ``start`` and ``stop``; one at a time in a process (RuntimeError for a second). The raw record,
    at ``file``, is in memray's own format, for ``memray flamegraph`` and its other reports. MissingExtra without
    memray."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._tracker: memray.Tracker | None = None

    def start(self) -> None:
        """Blocks until memray records. From then on each allocation takes longer."""
        extras.need("memray", for_="a profile of memory")
        import memray  # costs a process some memory itself: only for those that ask

        destination = memray.FileDestination(self._file, overwrite=True, compress_on_exit=False)
        tracker = memray.Tracker(destination=destination)
        # In a thread of its own: memray leaves out as many frames of the thread that enters as are below it, also
        # after those have returned.
        with ThreadPoolExecutor(1, thread_name_prefix="sigmaos-perf-memory") as beginner:
            beginner.submit(tracker.__enter__).result()
        self._tracker = tracker

    def stop(self) -> Profile:
        """Ends the record and reads it, which takes seconds for a long one. Empty if it was not started."""
        tracker, self._tracker = self._tracker, None
        if tracker is None:
            return Profile(BYTES)
        tracker.__exit__(None, None, None)
        return at_peak(self._file)


def at_peak(file: Path) -> Profile:
    """Who held memory when the process held most, from a raw record."""
    import memray

    profile = Profile(BYTES)
    with memray.FileReader(file) as reader:
        for record in reader.get_high_watermark_allocation_records(merge_threads=True):
            frames = record.stack_trace()  # innermost first
            stack = [frame_label(*frame) for frame in reversed(frames)]
            profile.add(stack or ["(outside of Python)"], record.size)
    return profile

"""How a running job shows itself: bars on a terminal, else lines; on standard error if standard output gets JSON."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bars

if TYPE_CHECKING:
    from types import TracebackType

    from user.mr import JobResult, Phase, Progress


class JobView:
    """Lines, one for each change. The base of the bars; a context manager."""

    def __init__(self, stream: TextIO) -> None:
        """``stream`` is the caller's, and stays open."""
        self._stream = stream
        self._began_s = time.monotonic()
        self._shown: tuple[str, ...] = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.end()

    def line(self, text: str) -> None:
        print(text, file=self._stream, flush=True)

    def show(self, progress: Progress) -> None:
        """Prints how far the job is, if that has changed since the last call."""
        news = texts(progress, time.monotonic() - self._began_s)
        if progress.map.total and news[1:] != self._shown[1:]:  # a rate alone is no news
            self.line("; ".join(f"{name} {text}" for name, text in zip(_NAMES, news, strict=True)))
        self._shown = news

    def end(self) -> None:
        """Leaves the terminal as it was; what was shown last stays. May be repeated."""


class JobBars(JobView):
    """A bar for the map tasks and one for the reduce tasks, with what is shuffled between them."""

    def __init__(self, console: Console) -> None:
        super().__init__(sys.stdout)
        columns = (
            TextColumn("{task.description:8}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[news]}"),
        )
        self._bars = Bars(*columns, console=console)
        self._rows = [self._bars.add_task(name, total=None, news="") for name in _NAMES]
        self._bars.start()

    def line(self, text: str) -> None:
        self._bars.console.print(text, markup=False, highlight=False)

    def show(self, progress: Progress) -> None:
        news = texts(progress, time.monotonic() - self._began_s)
        # What is shuffled is what the map tasks that are done have made: the same bar.
        phases = (progress.map, progress.map, progress.reduce)
        for row, phase, text in zip(self._rows, phases, news, strict=True):
            self._bars.update(row, total=phase.total or None, completed=phase.done, news=text)

    def end(self) -> None:
        self._bars.stop()


_NAMES = ("map", "shuffle", "reduce")


def texts(progress: Progress, elapsed_s: float) -> tuple[str, ...]:
    """One text each for map, shuffle and reduce. Rates are in millions of bytes for each second so far."""
    mb_per_s = progress.in_bytes / 1e6 / max(elapsed_s, 1e-3)
    lost = f", {progress.nrestart} lost input" if progress.nrestart else ""
    return (
        f"{_tasks(progress.map)}, {progress.map_failures} failed, {mb_per_s:.1f} MB/s",
        f"{progress.shuffle_bytes / 1e6:.2f} MB",
        f"{_tasks(progress.reduce)}, {progress.reduce_failures} failed{lost}",
    )


def _tasks(phase: Phase) -> str:
    return f"{phase.done}/{phase.total} done, {phase.running} running"


def ending(result: JobResult) -> str:
    """The result in one line."""
    counters = result.counters
    return (
        f"{result.job}: {result.input_bytes / 1e6:.1f} MB in {result.duration_s:.1f} s ({result.mb_per_s:.1f} MB/s), "
        f"{counters.ntask} tasks run, {counters.nfail} failed, {counters.nrestart} lost input; "
        f"output in name/mr/{result.job}/out/"
    )


def make_view(*, as_json: bool) -> JobView:
    if as_json:
        return JobView(sys.stderr)
    console = Console()
    return JobBars(console) if console.is_terminal else JobView(sys.stdout)

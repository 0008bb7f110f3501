"""How the demo shows itself: live on a terminal, line by line in a pipe, as one JSON text for a program."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, NamedTuple

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

HEADINGS = ("file", "words", "the", "node", "time")
_NUMBERS = (1, 2, 4)
"""The columns that stand to the right."""


class Row(NamedTuple):
    """What became of one file. ``failure`` is empty if its proc counted it."""

    file: str
    words: int = 0
    the: int = 0
    node: str = ""
    seconds: float = 0.0
    failure: str = ""

    def cells(self) -> tuple[str, ...]:
        if self.failure:
            return (self.file, "-", "-", "-", "failed")
        return (self.file, f"{self.words:,}", f"{self.the:,}", self.node, f"{self.seconds:.3f} s")


class View:
    """Plain lines. The base of the other two."""

    def __init__(self) -> None:
        self._done, self._total = 0, 0

    def line(self, text: str) -> None:
        print(text, flush=True)

    def begin(self, doing: str, total: int) -> None:
        """A phase of ``total`` steps begins."""
        self._done, self._total = 0, total
        self.line(f"{doing} ({total})")

    def step(self, what: str) -> None:
        """One step of the phase is done."""
        self._done += 1
        self.line(f"  {self._done}/{self._total} {what}")

    def end(self) -> None:
        """The phase is over, or broken off."""

    def table(self, rows: Sequence[Row], total: Row) -> None:
        cells = [HEADINGS, *(row.cells() for row in rows), total.cells()]
        widths = [max(len(row[column]) for row in cells) for column in range(len(HEADINGS))]
        for line in cells:
            padded = (
                cell.rjust(width) if column in _NUMBERS else cell.ljust(width)
                for column, (cell, width) in enumerate(zip(line, widths, strict=True))
            )
            self.line("  ".join(padded).rstrip())
        self._tell_failures(rows)

    def _tell_failures(self, rows: Sequence[Row]) -> None:
        for row in rows:
            if row.failure:
                self.line(f"failed: {row.file}: {row.failure}")


class TerminalView(View):
    """A bar per phase, and a table with borders."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console
        self._progress: Progress | None = None

    def line(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False)

    def begin(self, doing: str, total: int) -> None:
        self.end()
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._progress = Progress(*columns, console=self._console)
        self._progress.add_task(doing, total=total)
        self._progress.start()

    def step(self, what: str) -> None:
        if self._progress is not None:
            self._progress.advance(self._progress.task_ids[0])

    def end(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def table(self, rows: Sequence[Row], total: Row) -> None:
        table = Table(show_footer=True)
        for column, (heading, footer) in enumerate(zip(HEADINGS, total.cells(), strict=True)):
            table.add_column(heading, footer=footer, justify="right" if column in _NUMBERS else "left")
        for row in rows:
            table.add_row(*row.cells(), style="red" if row.failure else None)
        self._console.print(table)
        self._tell_failures(rows)


class JsonView(View):
    """Progress goes to standard error; standard output gets one JSON text."""

    def line(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    def table(self, rows: Sequence[Row], total: Row) -> None:
        print(json.dumps({"files": [row._asdict() for row in rows], "total": total._asdict()}, indent=2), flush=True)


def make_view(*, as_json: bool) -> View:
    if as_json:
        return JsonView()
    console = Console()
    return TerminalView(console) if console.is_terminal else View()

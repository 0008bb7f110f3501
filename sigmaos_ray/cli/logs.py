"""``logs``: what kernel parts and procs printed, on whichever host."""

from __future__ import annotations

import codecs
import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated, Final, NamedTuple

import typer

from sigmaos_ray import serr
from sigmaos_ray.cli import loglines
from sigmaos_ray.cli.logplaces import log_places, node_places, say_unreadable, title

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sigmaos_ray import SigmaClnt
    from sigmaos_ray.cli.logplaces import LogPlace, LogState

_FOLLOW_S: Final = 0.2


def register(app: typer.Typer) -> None:
    app.command()(logs)


def logs(
    which: Annotated[
        str | None, typer.Argument(help="A pid, a program, or a kernel part: boot, named, etcd ...")
    ] = None,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on with what is printed from now on.")] = False,
    merge: Annotated[
        bool, typer.Option("--merge", help="All lines in one, by their time, each with the name of its log.")
    ] = False,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="Only what is newer: than 10m, 2h, 1d, or since 14:05.")
    ] = None,
) -> None:
    """Print the logs of kernel parts and procs of all hosts; all of them without an argument. A line that does not say
    when it was printed counts as printed with the one before it."""
    now_s = time.time()
    reading = Reading(loglines.since_s(since, now_s) if since is not None else 0.0, merge)
    with ExitStack() as stack:
        places = log_places(stack)
        found = _found(places, which)
        if not found:
            raise serr.NotFound(which or "logs", "no such log; a proc that printed nothing has none")
        # Headers at the beginning only: whoever follows several logs reads their lines as they come.
        reading.print_new(found, headers=len(found) > 1, is_end=not follow)
        while follow:
            time.sleep(_FOLLOW_S)
            reading.print_new(_found(places, which), headers=False, is_end=False)


def _found(places: Sequence[LogPlace], which: str | None) -> dict[tuple[LogPlace, str], LogState]:
    """The logs that ``which`` means: those of that very name, or else all of a program or part."""
    if which is not None:
        exact = {(place, name): state for place in places for name, state in place.named(which).items()}
        if exact:
            return exact
    return {
        (place, name): state
        for place in places
        for name, state in place.all().items()
        if which is None or title(name).startswith(f"{which}-")
    }


class Line(NamedTuple):
    """A line of a log."""

    written_s: float
    title: str
    text: str


class Reading:
    """How far logs were printed. ``since_s``: lines that are older are not printed. ``merges``: lines are printed in
    the order of their times, each with the name of its log."""

    def __init__(self, since_s: float, merges: bool) -> None:
        self._since_s = since_s
        self._merges = merges
        self._logs: dict[tuple[LogPlace, str], _Log] = {}

    def print_new(self, found: dict[tuple[LogPlace, str], LogState], *, headers: bool, is_end: bool) -> None:
        """What came since the last time. ``is_end``: nobody will look again, and a line that has no end yet is printed
        as well."""
        for key, state in found.items():
            log = self._logs.setdefault(key, _Log(*key))
            if not self._merges and not self._since_s:
                _print_header(headers, key[1])
                for text in log.new_text(state):
                    sys.stdout.write(text)
                sys.stdout.write(log.rest() if is_end else "")
        if self._merges or self._since_s:
            self._print_lines(found, headers=headers and not self._merges, is_end=is_end)
        sys.stdout.flush()

    def _print_lines(self, found: dict[tuple[LogPlace, str], LogState], *, headers: bool, is_end: bool) -> None:
        merged: list[Line] = []
        for key, state in found.items():
            if state.changed_s < self._since_s:
                continue
            lines = [
                line for line in self._logs[key].new_lines(state, is_end=is_end) if line.written_s >= self._since_s
            ]
            if self._merges:
                merged += lines
            elif lines:
                _print_header(headers, key[1])
                sys.stdout.writelines(line.text + "\n" for line in lines)
        # Stable: lines of one time and one log stay in their order.
        merged.sort(key=lambda line: line.written_s)
        sys.stdout.writelines(f"{line.title}: {line.text}\n" for line in merged)


class FollowedLog:
    """The log of one proc, printed as it grows, without its first line, which is not the program's."""

    def __init__(self, sc: SigmaClnt, pid: str) -> None:
        self._sc = sc
        self._pid = pid
        self._log: _Log | None = None
        self._is_behind_header = False

    def print_new(self, *, is_end: bool = False) -> None:
        """What came since the last time. ``is_end``: nobody will look again."""
        for place in node_places(self._sc):
            for name, state in place.named(self._pid).items():
                log = self._log = self._log or _Log(place, name)
                for text in log.new_text(state):
                    self._print(text)
                if is_end:
                    self._print(log.rest())
                return

    def _print(self, text: str) -> None:
        if not self._is_behind_header:
            _, end, text = text.partition("\n")
            self._is_behind_header = bool(end)
        sys.stdout.write(text)
        sys.stdout.flush()


def _print_header(is_wanted: bool, name: str) -> None:
    if is_wanted:
        sys.stdout.write(f"========== {title(name)} ==========\n")


class _Log:
    """How far a log was read."""

    def __init__(self, place: LogPlace, name: str) -> None:
        self._place = place
        self._name = name
        self._offset = 0
        self._identity = 0
        self._last_s: float | None = None
        self._begun = ""
        """A line that has no end yet."""
        self._decoder = _new_decoder()

    def new_text(self, state: LogState) -> Iterable[str]:
        """What is new, in parts. A character of which a part is there yet comes with its rest."""
        if state.identity != self._identity or state.length < self._offset:  # a pid that was used again
            self._identity, self._offset, self._decoder, self._begun = state.identity, 0, _new_decoder(), ""
        if state.length == self._offset:
            return
        try:
            for part in self._place.read(self._name, self._offset):
                self._offset += len(part)
                yield self._decoder.decode(part)
        except (serr.SigmaError, OSError) as error:  # gone meanwhile, or its node
            say_unreadable(self._name, error)

    def rest(self) -> str:
        """Of a character that never came as a whole."""
        return self._decoder.decode(b"", final=True)

    def new_lines(self, state: LogState, *, is_end: bool) -> Sequence[Line]:
        """The lines that are new. ``is_end``: also one without an end."""
        text = self._begun + "".join(self.new_text(state)) + (self.rest() if is_end else "")
        *lines, self._begun = text.split("\n")
        if is_end and self._begun:
            lines.append(self._begun)
        written = loglines.times(lines, state.changed_s, self._last_s)
        if written:
            self._last_s = written[-1]
        return [Line(written_s, title(self._name), line) for written_s, line in zip(written, lines, strict=True)]


def _new_decoder() -> codecs.IncrementalDecoder:
    return codecs.getincrementaldecoder("utf-8")(errors="replace")

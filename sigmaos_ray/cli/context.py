"""What the commands share: global options, the client, output for people and for programs."""

from __future__ import annotations

import signal
import sys
import time
import traceback
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Never, Self

import msgspec
import typer

from sigmaos_ray import serr
from sigmaos_ray.instance import NO_INSTANCE, STATE_FILE_NAME, named_addresses, outside_proc_env, read_instance
from sigmaos_ray.instance import state_dir as default_state_dir
from sigmaos_ray.sigmap import ROOT_REALM
from sigmaos_ray.sigmap.text import escaped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import FrameType

    from rich.table import Table

    from sigmaos_ray import SigmaClnt
    from sigmaos_ray.config import ProcEnv
    from sigmaos_ray.instance import Instance


class Options:
    """The options before the verb."""

    def __init__(self) -> None:
        self.debug = False
        self.state_dir: Path | None = None
        """None: where ``SIGMAOS_STATE_DIR`` says, or the default."""


options = Options()


def state_dir() -> Path:
    """Of the instance that the command is about, whether or not there is one."""
    return options.state_dir or default_state_dir()


def instance() -> Instance:
    """The running instance. Unreachable if there is none."""
    running = read_instance(state_dir() / STATE_FILE_NAME)
    if running is None:
        raise serr.Unreachable("sigmaos", NO_INSTANCE)
    return running


def is_elsewhere() -> bool:
    """Whether the command is about the instance at ``SIGMAOS_NAMED``, which may be on another machine: its state file
    and processes are not here."""
    return options.state_dir is None and named_addresses() is not None


def running_instance() -> Instance:
    """The instance that the command is about, as it says itself. Unreachable if it does not run."""
    if not is_elsewhere():
        running = instance()
        check_boot_lives(running)
        return running
    from sigmaos_ray import SigmaClnt

    with SigmaClnt(outside_proc_env(realm=ROOT_REALM)) as sc:
        return sc.read_instance()


@contextmanager
def client() -> Iterator[SigmaClnt]:
    """A client of the instance, for one command; closed at the end of the block. Unreachable at once if the instance
    is gone: a client alone would go on trying for as long as a failover of named may take."""
    from sigmaos_ray import SigmaClnt

    if not is_elsewhere():
        running = instance()
        check_boot_lives(running)
        if not running.named.addrs:
            raise serr.Unreachable("sigmaos", "the instance is starting: named is not there yet")
    with SigmaClnt(client_env()) as sc:
        yield sc


def client_env() -> ProcEnv:
    """Who a client of the instance is that the command is about."""
    return outside_proc_env(None if is_elsewhere() else state_dir() / STATE_FILE_NAME)


def check_boot_lives(recorded: Instance) -> None:
    """Unreachable if the boot process of an instance is gone, and its state file is what a crash left."""
    if recorded.has_crashed():
        raise serr.Unreachable("sigmaos", "the instance has crashed: `sigmaos start` starts it anew")


def error_line(error: Exception) -> str:
    """What an error says, in one line."""
    if isinstance(error, serr.SigmaError) or not isinstance(error, OSError):
        text = str(error)
    else:
        text = f"{error.filename}: {error.strerror or error}" if error.filename else error.strerror or str(error)
    return shown(escaped(" ".join(text.split())))


class Failures:
    """What could not be done of a command that goes on with the rest. A context manager, at whose end the command ends
    with exit code 1 if there was anything."""

    def __init__(self) -> None:
        self._count = 0

    def tell(self, error: Exception) -> None:
        """A line on standard error."""
        self._count += 1
        if options.debug:
            traceback.print_exception(error)
        sys.stderr.write(f"sigmaos: {error_line(error)}\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None and self._count:
            raise typer.Exit(1)


def print_json(value: Any) -> None:
    """One JSON text on standard output, for programs."""
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n")


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on a terminal; aligned plain text when piped."""
    if sys.stdout.isatty():
        from rich.console import Console

        Console().print(_table(header, rows), markup=False)
        return
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    for row in (header, *rows):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        sys.stdout.write("  ".join(cells).rstrip() + "\n")


def follow_table(header: Sequence[str], look: Callable[[], Sequence[Sequence[str]]], interval_s: float) -> Never:
    """A table that ``look`` fills anew every ``interval_s``, until Ctrl-C: in place on a terminal, one below the other
    when piped."""
    if not sys.stdout.isatty():
        _repeat_table(header, look, interval_s)
    from rich.live import Live

    # The terminal is rich's until the block ends; Ctrl-C leads through its end, and the last table stays.
    with Live(_table(header, look()), auto_refresh=False) as live:
        while True:
            time.sleep(interval_s)
            live.update(_table(header, look()), refresh=True)


def _repeat_table(header: Sequence[str], look: Callable[[], Sequence[Sequence[str]]], interval_s: float) -> Never:
    while True:
        print_table(header, look())
        sys.stdout.write("\n")
        sys.stdout.flush()
        time.sleep(interval_s)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(*header, box=box.SIMPLE_HEAD)
    for row in rows:
        table.add_row(*(_plain(cell) for cell in row))
    return table


def _plain(cell: str) -> str:
    """As rich shows it letter by letter: a name may look like markup, ``[red]`` say."""
    from rich.markup import escape

    return escape(cell)


def shown(name: str) -> str:
    """A name as one printable word of a line: control characters are escaped."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in name)


@contextmanager
def ending_on_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP end the block as Ctrl-C does: through every ``finally``."""

    def end(number: int, _frame: FrameType | None) -> None:
        sys.exit(128 + number)

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

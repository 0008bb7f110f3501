"""``logs``: what kernel parts and procs printed, on whichever host."""

from __future__ import annotations

import codecs
import contextlib
import os
import stat
import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated, Final, NamedTuple, Protocol

import typer

from sigmaos_ray import serr
from sigmaos_ray.cli import context
from sigmaos_ray.cli.context import client
from sigmaos_ray.instance import logs_dir
from sigmaos_ray.machine import file_identity
from sigmaos_ray.sigmap import SCHEDD, path

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from sigmaos_ray import SigmaClnt

_SUFFIX: Final = ".log"
_PROCS: Final = "procs"
_PART_BYTES: Final = 1 << 20
_FOLLOW_S: Final = 0.2


def register(app: typer.Typer) -> None:
    app.command()(logs)


def logs(
    which: Annotated[
        str | None, typer.Argument(help="A pid, a program, or a kernel part: boot, named, etcd ...")
    ] = None,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on with what is printed from now on.")] = False,
) -> None:
    """Print the logs of kernel parts and procs of all hosts; all of them without an argument."""
    with ExitStack() as stack:
        places = _places(stack)
        printed: dict[tuple[LogPlace, str], _Printed] = {}
        found = _found(places, which)
        if not found:
            raise serr.NotFound(which or "logs", "no such log; a proc that printed nothing has none")
        # Headers at the beginning only: whoever follows several logs reads their lines as they come.
        for log, state in found.items():
            printed[log] = _Printed(*log, header=len(found) > 1)
            printed[log].go_on(state)
        while follow:
            time.sleep(_FOLLOW_S)
            for log, state in _found(places, which).items():
                if log not in printed:
                    printed[log] = _Printed(*log, header=False)
                printed[log].go_on(state)


def _places(stack: ExitStack) -> list[LogPlace]:
    """This machine's disk, where the instance is of this machine, and the kernel nodes that do not show the same. An
    instance that cannot be asked, crashed maybe, has left logs on the disk. NotFound if nothing did."""
    realm = os.environ.get("SIGMAOS_REALM", "")
    own = logs_dir(context.state_dir(), realm)
    is_local = not context.is_elsewhere() and own.is_dir()
    known = {file_identity(own.stat())} if is_local else set()
    places: list[LogPlace] = [_HostLogs(own)] if is_local else []
    try:
        sc = stack.enter_context(client())
        for directory in _directories_of_nodes(sc):
            if directory.identity not in known:
                known.add(directory.identity)
                places.append(directory)
    except serr.SigmaError as error:
        if not places and realm and isinstance(error, serr.Unreachable):
            raise serr.NotFound(realm, "no realm that ever ran: `sigmaos realm ls` shows them") from error
        if not places:
            raise
    return places


def _directories_of_nodes(sc: SigmaClnt) -> Iterator[_NodeLogs]:
    for entry in sc.get_dir(SCHEDD):
        pn = path.join(SCHEDD, entry.name, "logs")
        try:
            yield _NodeLogs(sc, entry.name, pn, sc.stat(pn).qid.path)
        except serr.SigmaError as error:
            _say_unreadable(entry.name, error)


def _say_unreadable(node: str, error: Exception) -> None:
    sys.stderr.write(f"sigmaos: logs of {node}: {error}\n")


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


def title(name: str) -> str:
    """A log's name as it is asked for and printed: a proc's is its pid."""
    return name.removeprefix(f"{_PROCS}/")


class _Printed:
    """How far a log was printed."""

    def __init__(self, place: LogPlace, name: str, *, header: bool) -> None:
        self._place = place
        self._name = name
        self._offset = 0
        self._identity = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        if header:
            sys.stdout.write(f"========== {title(name)} ==========\n")

    def go_on(self, state: LogState) -> None:
        """Prints what is new."""
        if state.identity != self._identity or state.length < self._offset:  # a pid that was used again
            self._identity, self._offset = state.identity, 0
        if state.length == self._offset:
            return
        try:
            for part in self._place.read(self._name, self._offset):
                self._offset += len(part)
                sys.stdout.write(self._decoder.decode(part))
        except (serr.SigmaError, OSError) as error:  # gone meanwhile, or its node
            _say_unreadable(self._name, error)
        sys.stdout.flush()


class LogState(NamedTuple):
    """How a log was when it was looked at."""

    identity: int
    """Another one if it is another file: a pid may be used again."""
    length: int


class LogPlace(Protocol):
    """Where logs can be read."""

    def named(self, which: str) -> dict[str, LogState]:
        """The logs of that very name."""

    def all(self) -> dict[str, LogState]:
        """All logs, by name."""

    def read(self, name: str, offset: int) -> Iterator[bytes]:
        """What a log has past an offset, in parts. NotFound if it is gone."""


class _HostLogs:
    """Those in a directory of this machine."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def named(self, which: str) -> dict[str, LogState]:
        return {name: state for name, state in self.all().items() if which == title(name)}

    def all(self) -> dict[str, LogState]:
        files = [*sorted(self._directory.glob(f"*{_SUFFIX}")), *sorted(self._directory.glob(f"{_PROCS}/*{_SUFFIX}"))]
        states: dict[str, LogState] = {}
        for file in files:
            try:
                found = file.lstat()
            except FileNotFoundError:
                continue
            if stat.S_ISREG(found.st_mode):
                name = str(file.relative_to(self._directory)).removesuffix(_SUFFIX)
                states[name] = LogState(found.st_ino, found.st_size)
        return states

    def read(self, name: str, offset: int) -> Iterator[bytes]:
        with (self._directory / f"{name}{_SUFFIX}").open("rb") as file:
            file.seek(offset)
            while part := file.read(_PART_BYTES):
                yield part


class _NodeLogs:
    """Those of a kernel node, which its schedd shows."""

    def __init__(self, sc: SigmaClnt, kernel_id: str, directory: str, identity: int) -> None:
        self._sc = sc
        self._kernel_id = kernel_id
        self._directory = directory
        self.identity = identity
        """The same for nodes of one machine, which log to one directory."""

    def named(self, which: str) -> dict[str, LogState]:
        states = {}
        for name in (which, path.join(_PROCS, which)):
            with contextlib.suppress(serr.NotFound, serr.Inval, *serr.SESSION_ERRORS):
                found = self._sc.stat(self._file(name))
                states[name] = LogState(found.qid.path, found.length)
        return states

    def all(self) -> dict[str, LogState]:
        states = {}
        try:
            for prefix in ("", f"{_PROCS}/"):
                for entry in self._sc.get_dir(path.join(self._directory, prefix)):
                    if not entry.is_dir:
                        states[prefix + entry.name.removesuffix(_SUFFIX)] = LogState(entry.qid.path, entry.length)
        except serr.SigmaError as error:  # the node may go while it is looked at: there are others
            _say_unreadable(self._kernel_id, error)
        return states

    def read(self, name: str, offset: int) -> Iterator[bytes]:
        with self._sc.open_reader(self._file(name), offset) as reader:
            while part := reader.read(_PART_BYTES):
                yield part

    def _file(self, name: str) -> str:
        return path.join(self._directory, f"{name}{_SUFFIX}")

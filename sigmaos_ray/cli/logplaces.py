"""Where logs can be read: in a directory of this machine, and at the kernel nodes that show theirs."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from sigmaos_ray import serr
from sigmaos_ray.cli import context
from sigmaos_ray.cli.context import client
from sigmaos_ray.instance import logs_dir
from sigmaos_ray.machine import file_identity
from sigmaos_ray.sigmap import SCHEDD, path

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import ExitStack
    from pathlib import Path

    from sigmaos_ray import SigmaClnt

PROCS: Final = "procs"
PART_BYTES: Final = 1 << 20
_SUFFIX: Final = ".log"
_IDENTITY_MASK: Final = (1 << 62) - 1
"""Of a node's qid, beside which it has a mark."""


def log_places(stack: ExitStack) -> list[LogPlace]:
    """This machine's disk, where the instance is of this machine, and the kernel nodes that do not show the same. An
    instance that cannot be asked, crashed maybe, has left logs on the disk. NotFound if nothing did."""
    realm = os.environ.get("SIGMAOS_REALM", "")
    own = logs_dir(context.state_dir(), realm)
    is_local = not context.is_elsewhere() and own.is_dir()
    known = {file_identity(own.stat())} if is_local else set()
    places: list[LogPlace] = [_HostLogs(own)] if is_local else []
    try:
        sc = stack.enter_context(client())
        for directory in node_places(sc):
            if directory.identity not in known:
                known.add(directory.identity)
                places.append(directory)
    except serr.SigmaError as error:
        if not places and realm and isinstance(error, serr.Unreachable):
            raise serr.NotFound(realm, "no realm that ever ran: `sigmaos realm ls` shows them") from error
        if not places:
            raise
    return places


def node_places(sc: SigmaClnt) -> Iterator[NodeLogs]:
    """Those of all kernel nodes; of nodes of one machine each has the same logs."""
    for entry in sc.get_dir(SCHEDD):
        pn = path.join(SCHEDD, entry.name, "logs")
        try:
            yield NodeLogs(sc, entry.name, pn, sc.stat(pn).qid.path & _IDENTITY_MASK)
        except serr.SigmaError as error:
            say_unreadable(entry.name, error)


def say_unreadable(node: str, error: Exception) -> None:
    sys.stderr.write(f"sigmaos: logs of {node}: {error}\n")


def title(name: str) -> str:
    """A log's name as it is asked for and printed: a proc's is its pid."""
    return name.removeprefix(f"{PROCS}/")


class LogState(NamedTuple):
    """How a log was when it was looked at."""

    identity: int
    """Another one if it is another file: a pid may be used again."""
    length: int
    changed_s: float
    """When it was last written, in seconds since 1970."""


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
        files = [*sorted(self._directory.glob(f"*{_SUFFIX}")), *sorted(self._directory.glob(f"{PROCS}/*{_SUFFIX}"))]
        states: dict[str, LogState] = {}
        for file in files:
            try:
                found = file.lstat()
            except FileNotFoundError:
                continue
            if stat.S_ISREG(found.st_mode):
                name = str(file.relative_to(self._directory)).removesuffix(_SUFFIX)
                states[name] = LogState(found.st_ino, found.st_size, found.st_mtime)
        return states

    def read(self, name: str, offset: int) -> Iterator[bytes]:
        with (self._directory / f"{name}{_SUFFIX}").open("rb") as file:
            file.seek(offset)
            while part := file.read(PART_BYTES):
                yield part


class NodeLogs:
    """Those of a kernel node, which its schedd shows."""

    def __init__(self, sc: SigmaClnt, kernel_id: str, directory: str, identity: int) -> None:
        self._sc = sc
        self._kernel_id = kernel_id
        self._directory = directory
        self.identity = identity
        """The same for nodes of one machine, which log to one directory."""

    def named(self, which: str) -> dict[str, LogState]:
        states = {}
        for name in (which, path.join(PROCS, which)):
            with contextlib.suppress(serr.NotFound, serr.Inval, *serr.SESSION_ERRORS):
                found = self._sc.stat(self._file(name))
                states[name] = LogState(found.qid.path, found.length, found.mtime)
        return states

    def all(self) -> dict[str, LogState]:
        states = {}
        try:
            for prefix in ("", f"{PROCS}/"):
                for entry in self._sc.get_dir(path.join(self._directory, prefix)):
                    if not entry.is_dir:
                        states[prefix + entry.name.removesuffix(_SUFFIX)] = LogState(
                            entry.qid.path, entry.length, entry.mtime
                        )
        except serr.SigmaError as error:  # the node may go while it is looked at: there are others
            say_unreadable(self._kernel_id, error)
        return states

    def read(self, name: str, offset: int) -> Iterator[bytes]:
        with self._sc.open_reader(self._file(name), offset) as reader:
            while part := reader.read(PART_BYTES):
                yield part

    def _file(self, name: str) -> str:
        return path.join(self._directory, f"{name}{_SUFFIX}")

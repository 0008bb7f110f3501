"""Debug output by selector (G-1, G-2).

``SIGMADEBUG="NAMED;PROCCLNT;"`` turns selectors on. A module takes its selector once and asks it before it formats:

    _log = debug.selector("NAMED")
    if _log.on:
        _log(f"create {pathname}")

so that an off selector costs one attribute test. ALWAYS always prints, NEVER never, ERROR always.
``SIGMADEBUGPROCS`` narrows to procs whose pid starts with one of the prefixes in it.
"""

from __future__ import annotations

import os
import sys
import time
import traceback
from typing import TYPE_CHECKING, Final, NoReturn

from sigmaos_ray.sigmap.text import escaped

if TYPE_CHECKING:
    from collections.abc import Mapping

KNOWN: Final[Mapping[str, str]] = {
    "ALWAYS": "printed without being asked for",
    "ERROR": "errors that were survived; printed without being asked for",
    "NEVER": "never printed",
    "TEST": "the test harness",
    "PERF": "profiles",
    "CRASH": "fault injection",
    "PROCCLNT": "spawn, wait, evict",
    "RUNNER": "running a program in a Ray worker",
    "SPAWN_LAT": "how long each stage of a spawn took",
    "FSLIB": "file calls",
    "WALK": "pathname walks",
    "MOUNT": "mounts",
    "LEASECLNT": "leases, client's side",
    "ELECTCLNT": "elections",
    "LOCKCLNT": "locks",
    "LEADER": "leadership",
    "GROUPMGR": "groups of procs",
    "FTTASKCLNT": "durable tasks: clients",
    "FTTASKMGR": "durable tasks: the manager of the servers",
    "RPCCLNT": "RPC by pathname, client's side",
    "RPCSRV": "RPC by pathname, server's side",
    "SESSCLNT": "sessions, client's side",
    "SESSSRV": "sessions, server's side",
    "FUSE": "what the kernel asks a mounted namespace for and does not get",
    "SIGMASRV": "servers that advertise themselves",
    "PROTSRV": "each request of sigmap that a server carried out, and how long it took",
    "MEMFS": "the in-memory file system",
    "WATCH": "watches, server's side",
    "LEASESRV": "leases that a server keeps itself",
    "FENCE": "fences that a server has seen, and those it refused",
}
"""The library's own selectors. Services and programs declare theirs (``sigmaos_ray.selectors``)."""

_FORCED: Final = frozenset({"ALWAYS", "ERROR"})


class Selector:
    """One named channel of debug output. ``on`` is the test that callers make before they format a line."""

    __slots__ = ("name", "on")

    def __init__(self, name: str) -> None:
        self.name = name
        self.on = _settings.wants(name)

    def __call__(self, text: str) -> None:
        """Prints a line if the selector is on. Never raises, never blocks but for stderr itself."""
        if self.on:
            _emit(self.name, escaped(text))


class _Settings:
    """What the environment, or a later ``configure``, asks for."""

    def __init__(self) -> None:
        self.names: frozenset[str] = frozenset()
        self.muted = False
        self.who = ""
        self.selectors: dict[str, Selector] = {}

    def wants(self, name: str) -> bool:
        if name in _FORCED:
            return True
        return name != "NEVER" and name in self.names and not self.muted


_settings = _Settings()


def selector(name: str) -> Selector:
    """The selector of that name; the same object for the same name, so that a change reaches every user."""
    present = _settings.selectors.get(name)
    if present is None:
        present = _settings.selectors[name] = Selector(name)
    return present


def parse(spec: str) -> frozenset[str]:
    """The selector names in a ``SIGMADEBUG`` string: separated by ``;``, empty ones ignored."""
    return frozenset(part.strip() for part in spec.split(";") if part.strip())


def configure(spec: str | None = None, *, who: str | None = None, procs: str | None = None) -> None:
    """Sets selectors and the name that lines carry. What is None is taken from the environment.

    ``who``: the pid of the proc or the name of the kernel part. ``procs``: pid prefixes separated by ``;``.
    """
    if who is None:
        who = os.environ.get("SIGMADEBUGPID") or f"{os.path.basename(sys.argv[0] or 'python')}-{os.getpid()}"
    prefixes = parse(os.environ.get("SIGMADEBUGPROCS", "") if procs is None else procs)
    names = parse(os.environ.get("SIGMADEBUG", "") if spec is None else spec)
    muted = bool(prefixes) and not any(who.startswith(prefix) for prefix in prefixes)
    _settings.who = escaped(who)
    if (names, muted) == (_settings.names, _settings.muted):
        return  # as for most procs, each of which comes here
    _settings.names, _settings.muted = names, muted
    for each in _settings.selectors.values():
        each.on = _settings.wants(each.name)


def select(spec: str) -> None:
    """Sets the selectors of this process as it runs; who it is, and ``SIGMADEBUGPROCS``, stay. Whoever holds a selector
    has the new setting at once."""
    _settings.names = parse(spec)
    for each in _settings.selectors.values():
        each.on = _settings.wants(each.name)


def who() -> str:
    """The name that lines carry: a proc's pid, a kernel part, or program and process id."""
    return _settings.who


def fatal(text: str) -> NoReturn:
    """``DFatalf`` (G-2): prints ``FATAL <who> <function> Err: <text>`` and where it was called, and ends the process
    with exit code 1, at once."""
    frame = sys._getframe(1)
    try:
        sys.stderr.write(f"FATAL {_settings.who} {frame.f_code.co_qualname} Err: {escaped(text)}\n")
        traceback.print_stack(frame, file=sys.stderr)
        sys.stderr.flush()
    finally:
        # Not ``sys.exit``: it ends only the thread that calls it, and first runs whatever may hang.
        os._exit(1)


def selected() -> str:
    """The string that children inherit."""
    return "".join(f"{name};" for name in sorted(_settings.names))


def _emit(name: str, text: str) -> None:
    now = time.time()
    stamp = time.strftime("%H:%M:%S", time.localtime(now))
    try:
        # In one piece, with its line end: lines of several threads do not get into each other.
        sys.stderr.write(f"{stamp}.{int(now % 1 * 1e6):06d} {_settings.who} {name} {text}\n")
    except (OSError, ValueError):  # stderr is closed at exit: there is nobody left to tell
        return


configure()
always = selector("ALWAYS")
error = selector("ERROR")

"""The client of a file system object: opened when it is first needed, once per process and proc, closed at exit."""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from sigmaos_ray.instance import PROC_ENV_VARIABLE, STATE_FILE_NAME, find_proc_env, outside_proc_env
from sigmaos_ray.sigmaclnt import SigmaClnt

if TYPE_CHECKING:
    from sigmaos_ray.config import ProcEnv


class _Opened(NamedTuple):
    """A client, and for whom it was opened."""

    os_pid: int
    proc: str | None
    """The proc's environment, as the process has it: another one in the same worker has another."""
    clnt: SigmaClnt


class Connection:
    """To the instance that ``state_file`` or ``state_dir`` names, as ``realm`` if that is not the instance's own;
    without any of them to where ``SigmaClnt()`` connects. May be shared by threads; making one opens nothing.

    fsspec keeps file system objects for as long as the process lives, in a worker from one proc to the next: each gets
    a client of its own. So does a process that was forked.
    """

    def __init__(
        self,
        state_file: str | os.PathLike[str] | None,
        state_dir: str | os.PathLike[str] | None,
        realm: str | None,
    ) -> None:
        if state_file is None and state_dir is not None:
            state_file = Path(state_dir) / STATE_FILE_NAME
        self._state_file = state_file
        self._realm = realm
        self._lock = threading.Lock()
        self._opened: _Opened | None = None
        _all.add(self)

    def clnt(self) -> SigmaClnt:
        """The client of this process and proc. Unreachable if there is no instance."""
        os_pid, proc = os.getpid(), os.environ.get(PROC_ENV_VARIABLE)
        opened = self._opened  # looked at once, without the lock, for every call: others may close it meanwhile
        if opened is not None and (opened.os_pid, opened.proc) == (os_pid, proc):
            return opened.clnt
        with self._lock:
            opened = self._opened
            if opened is None or (opened.os_pid, opened.proc) != (os_pid, proc):
                self._close()
                opened = self._opened = _Opened(os_pid, proc, self._open())
            return opened.clnt

    def forked(self) -> None:
        """In a forked child: whoever held the lock is not here, and the client is the parent's."""
        self._lock = threading.Lock()
        self._opened = None

    def where(self) -> tuple[str, str]:
        """What the options say: the state file and the realm, empty where they say nothing."""
        return os.fspath(self._state_file or ""), self._realm or ""

    def _open(self) -> SigmaClnt:
        if self._state_file is None and self._realm is None:
            return SigmaClnt()
        env: ProcEnv = find_proc_env() if self._state_file is None else outside_proc_env(self._state_file)
        return SigmaClnt(msgspec.structs.replace(env, realm=self._realm) if self._realm else env)

    def close(self) -> None:
        """Ends the sessions; the next use opens anew. May be repeated."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        opened, self._opened = self._opened, None
        if opened is not None and opened.os_pid == os.getpid():  # a parent's is the parent's to close
            opened.clnt.close()


_all: weakref.WeakSet[Connection] = weakref.WeakSet()


def _after_fork() -> None:
    for connection in list(_all):
        connection.forked()


os.register_at_fork(after_in_child=_after_fork)


def _close_all() -> None:
    for connection in list(_all):
        connection.close()


# Runs before the loop thread's own end, which was registered when that was imported.
atexit.register(_close_all)

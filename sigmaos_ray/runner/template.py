"""A template: a process with one thread and no event loop, which has imported what procs need, and forks theirs.

There are three kinds, of one main loop. The *keeper* is started by a worker and forks the other templates: the *bare*
one, which has imported this package alone, and *program templates*, which have imported the modules of one program.
These fork processes that wait for a proc. Each template listens to its worker over a socket of its own. When that
breaks, the worker is gone: a template kills what it forked, and ends. Templates see the keeper's end, too, and the
keeper, which inherits what they leave, theirs: whichever of them is killed, nothing is left (X-41).
"""

from __future__ import annotations

import faulthandler
import gc
import os
import select
import signal
import socket
import sys
import traceback
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn

from sigmaos_ray import config
from sigmaos_ray.runner import children, imports, procmain, sparelogs
from sigmaos_ray.runner.sparelogs import SpareLog, SpareLogs
from sigmaos_ray.runner.templatewire import (
    Ended,
    Forked,
    ForkProc,
    ForkTemplate,
    Ready,
    Retire,
    TemplateWord,
    Unforked,
    decode_command,
    message,
)
from sigmaos_ray.sessp import plain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sigmaos_ray.runner.templatewire import Command

_FAILED_CODE: Final = 70
"""Of a process in which our own code failed: EX_SOFTWARE of sysexits.h."""


class _Child(NamedTuple):
    os_pid: int
    pidfd: int
    spare: SpareLog | None
    is_template: bool


class Template:
    """The main loop of one of them. ``commands`` is its socket; ``keeper_pidfd`` stands for the process that ends it
    when it ends itself, -1 for none."""

    def __init__(self, commands: socket.socket, log_dir: str, keeper_pidfd: int) -> None:
        self._commands = commands
        self._log_dir = log_dir
        self._keeper_pidfd = keeper_pidfd
        self._spares = SpareLogs(log_dir)
        self._children: dict[int, _Child] = {}
        """By the descriptor that stands for each."""
        self._is_over = self._is_retired = False
        self._base_modules: frozenset[str] = frozenset()
        self._poll = select.poll()
        self._poll.register(commands, select.POLLIN)
        if keeper_pidfd >= 0:
            self._poll.register(keeper_pidfd, select.POLLIN)

    def run(self) -> None:
        """Until its worker has closed the socket, or it is retired and its processes have ended."""
        self._base_modules = frozenset(sys.modules)
        # Objects that no collection looks at are not written to, and stay shared with the processes forked here.
        gc.collect()
        gc.freeze()
        while not (self._is_over or (self._is_retired and not self._children)):
            for fd, _ in self._poll.poll():
                if fd in self._children:
                    self._on_ended(self._children[fd])
                elif fd == self._keeper_pidfd:
                    self._is_over = True
                elif not self._is_over:
                    self._on_command()
        self._end()

    # -- commands

    def _on_command(self) -> None:
        received = _receive(self._commands)
        if received is None:
            self._is_over = True
            return
        command, fd = received
        if isinstance(command, Retire):
            self._is_retired = True
            return
        try:
            self._fork(command, fd)
        except OSError as error:
            self._tell(Unforked(command.number, str(error)))
        finally:
            if fd >= 0:
                os.close(fd)

    def _fork(self, command: ForkProc | ForkTemplate, fd: int) -> None:
        is_template = isinstance(command, ForkTemplate)
        spare = None if is_template else self._spares.take()
        parent = os.getpid()
        try:
            os_pid = os.fork()
        except OSError:
            if spare is not None:
                self._spares.give(spare)
            raise
        if not os_pid:
            self._become(command, fd, spare, parent)
        pidfd = os.pidfd_open(os_pid)
        self._children[pidfd] = _Child(os_pid, pidfd, spare, is_template)
        self._poll.register(pidfd, select.POLLIN)
        self._tell(Forked(command.number, os_pid, _started_ticks(os_pid), spare.name if spare else ""))

    def _become(self, command: ForkProc | ForkTemplate, fd: int, spare: SpareLog | None, parent: int) -> NoReturn:
        """In the new process."""
        code = _FAILED_CODE
        try:
            children.die_with_parent(parent)
            children.adopt_orphans()
            # Not closed by their objects either, whose numbers will be others' then.
            self._commands.detach()
            if isinstance(command, ForkTemplate):
                _close_all_but(fd, self._keeper_pidfd)
                _run_template(fd, command, self._log_dir, self._keeper_pidfd)
                code = 0
            else:
                _close_all_but(fd, spare.fd if spare else -1)
                code = procmain.main(fd, spare, self._base_modules)
        except BaseException:  # noqa: BLE001  # nothing of ours may run on in the parent's frames
            traceback.print_exc()
        finally:
            os._exit(code)

    def _tell(self, word: TemplateWord) -> None:
        try:
            self._commands.sendall(message(word))
        except OSError:  # the worker is gone
            self._is_over = True

    # -- ends

    def _on_ended(self, child: _Child) -> None:
        # Its group first, while the number is still its own.
        _kill_group(child.os_pid)
        _, status = os.waitpid(child.os_pid, 0)
        self._poll.unregister(child.pidfd)
        os.close(child.pidfd)
        del self._children[child.pidfd]
        # What has left that group, and the processes of a template that died, are children of this process now.
        orphans: list[Ended] = []
        kept = children.Spared(frozenset(other.os_pid for other in self._children.values()))
        children.end_all(kept, lambda os_pid, status: orphans.append(Ended(os_pid, status)))
        if child.spare is not None:
            self._spares.give(child.spare)
        if child.is_template:
            sparelogs.remove_of(self._log_dir, child.os_pid)
        for ended in (*orphans, Ended(child.os_pid, status)):
            self._tell(ended)

    def _end(self) -> None:
        """Kills what is left. Templates hear of their worker's end themselves, and end their own processes."""
        for child in self._children.values():
            if child.is_template:
                children.ends(child.os_pid, config.current().workers.template_end_timeout_s)
            else:
                _kill_group(child.os_pid)
        children.end_all()
        for child in self._children.values():
            if child.spare is not None:
                self._spares.give(child.spare)
        self._spares.remove()


def _receive(commands: socket.socket) -> tuple[Command, int] | None:
    """The next command, and the descriptor that came with it, or -1; None if the worker has closed the socket."""
    try:
        head, fds, _, _ = socket.recv_fds(commands, plain.SIZE.size, 1, socket.MSG_WAITALL)
        if len(head) < plain.SIZE.size:
            return None
        size = plain.SIZE.unpack(head)[0]
        body = commands.recv(size, socket.MSG_WAITALL)
    except OSError:
        return None
    return (decode_command(body), fds[0] if fds else -1) if len(body) == size else None


def _started_ticks(os_pid: int) -> int:
    """When a child was started (``machine.OsProcess``)."""
    stat = Path(f"/proc/{os_pid}/stat").read_bytes()
    return int(stat.rpartition(b")")[2].split()[19])


def _kill_group(os_pid: int) -> None:
    try:
        os.killpg(os_pid, signal.SIGKILL)
    except ProcessLookupError:  # it was killed before it had one
        _kill(os_pid)


def _kill(os_pid: int) -> None:
    try:
        os.kill(os_pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _close_all_but(*fds: int) -> None:
    """Of all descriptors but the standard streams'."""
    low = 3
    for fd in sorted(fd for fd in fds if fd >= 0):
        os.closerange(low, fd)
        low = fd + 1
    os.closerange(low, 1 << 30)


def _run_template(fd: int, command: ForkTemplate, log_dir: str, keeper_pidfd: int) -> None:
    """The process of a template, from its fork on."""
    commands = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, fd)
    ready = imports.imported(command.modules, command.program) if command.modules else Ready({})
    commands.sendall(message(ready))
    if not ready.refusal:
        # It sees its keeper's end from now on, and has something to do then.
        children.outlive_parent()
        Template(commands, log_dir, keeper_pidfd).run()


# -- the keeper


def keep(fd: int, log_dir: str) -> None:
    """The main function of a keeper: ``fd`` is its socket. Returns when its worker is gone."""
    _settle()
    children.adopt_orphans()
    commands = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, fd)
    procmain.prepare()
    Template(commands, log_dir, os.pidfd_open(os.getpid())).run()


def go_on(kept: str) -> None:
    """The main function of an interpreter that was begun anew for one proc."""
    _settle()
    os._exit(procmain.go_on(kept))


def _settle() -> None:
    """Makes this process like one that a shell started, whatever its worker is like."""
    # A fork of a program's own, such as multiprocessing's, is not to find the keeper's code as the main module.
    main = types.ModuleType("__main__")
    main.__dict__["__builtins__"] = __builtins__
    sys.modules["__main__"] = main
    sys.argv = [""]
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, _DEFAULTS.get(number, signal.SIG_DFL))
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    faulthandler.enable(2)  # tells where a proc crashed, in its log
    for stream in (sys.stdout, sys.stderr):
        # Logs are read as they grow; and what cannot be encoded is no reason to fail.
        stream.reconfigure(line_buffering=True, errors="backslashreplace")  # type: ignore[union-attr]


_DEFAULTS: Final[Mapping[int, Any]] = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGPIPE: signal.SIG_IGN,
    signal.SIGXFSZ: signal.SIG_IGN,
}
"""Those of Python that are not the system's."""

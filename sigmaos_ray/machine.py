"""Which machine this is, which process, which file: values that stay true on other hosts and when a number is reused.

A process id means something only where it was given: on one machine since its start, in one namespace of processes.
And a number is given again, so a process is known by when it started as well: in the kernel's ticks since the machine
started, which no change of the clock moves.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import os
import signal
import socket
from pathlib import Path
from typing import Final

import msgspec

_STATE_FIELD: Final = 0
_PARENT_FIELD: Final = 1
_STARTED_FIELD: Final = 19
"""Of ``/proc/<pid>/stat``, counted from behind the command's name, which may hold spaces and brackets itself."""
_NO_PROCESS: Final = frozenset({errno.ESRCH, errno.ENOENT, errno.EINVAL})
"""As kernels of different age put it."""
_ENDED_STATES: Final = frozenset("ZX")


@functools.cache
def machine() -> str:
    """This machine: the same text in two processes if they see each other's process ids, and only then."""
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot_id}/{os.readlink('/proc/self/ns/pid')}"


def file_identity(found: os.stat_result) -> int:
    """A number of 62 bits, the same for the same file of the same machine, whatever it is called."""
    identity = f"{machine()}/{found.st_dev}/{found.st_ino}".encode()
    return int.from_bytes(hashlib.blake2b(identity, digest_size=8).digest()) >> 2


def is_own_address(host: str) -> bool:
    """Whether this machine has that address, or the one that the name stands for; False for what is no address.

    Asked of the system, which alone knows all addresses of all its interfaces: only one's own can be bound."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host.strip("[]"), 0, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.bind(address)
    except OSError:
        return False
    return True


def own_address_towards(host: str) -> str:
    """The address of this machine that packets for another one leave from, where that one reaches us as well; empty if
    there is no way. Sends nothing, but may ask for a name's address."""
    if not host:
        return ""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host.strip("[]"), 9, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.connect(address)  # of a datagram's socket: it only chooses the way
            return str(probe.getsockname()[0])
    except OSError:
        return ""


class OsProcess(msgspec.Struct, frozen=True):
    """One process of one machine; never one that got its number later."""

    machine: str
    pid: int
    started_ticks: int
    """After the machine's start."""

    @classmethod
    def own(cls) -> OsProcess:
        """This process."""
        return cls(machine(), os.getpid(), _fields(os.getpid())[2])

    @classmethod
    def of(cls, pid: int) -> OsProcess | None:
        """The process that has this number here now, zombies included; None if none has. A thread's is none."""
        try:
            process = cls(machine(), pid, _fields(pid)[2])
        except ProcessLookupError:
            return None
        # A thread has a number of its own, under which /proc shows its process: only pidfd_open tells the two apart.
        pidfd = _open(pid)
        if pidfd is None:
            return None
        os.close(pidfd)
        return process

    @property
    def is_here(self) -> bool:
        """Whether this machine is its own: only then can anything be said of it, or done to it."""
        return self.machine == machine()

    def is_gone(self) -> bool:
        """True if it has certainly ended (a zombie has). False for a process of another machine: nobody here knows."""
        if not self.is_here:
            return False
        try:
            state, _, started_ticks = _fields(self.pid)
        except ProcessLookupError:
            return True
        return started_ticks != self.started_ticks or state in _ENDED_STATES

    def is_alive(self) -> bool:
        """True if it certainly runs: here, and not ended."""
        return self.is_here and not self.is_gone()

    def open(self) -> int | None:
        """A pidfd, which the caller closes; None if it has ended or is of another machine."""
        if not self.is_here:
            return None
        pidfd = _open(self.pid)
        # Looked at only now: the number may have been another's when the descriptor was opened.
        if pidfd is not None and self.is_gone():
            os.close(pidfd)
            return None
        return pidfd

    def send(self, number: signal.Signals) -> bool:
        """Sends a signal to that very process; False if it has ended or is of another machine. PermissionError if it is
        another user's."""
        pidfd = self.open()
        if pidfd is None:
            return False
        try:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(pidfd, number)
                return True
            return False
        finally:
            os.close(pidfd)


def descendants(process: OsProcess) -> list[OsProcess]:
    """What lives below a process now, zombies included; nothing if it has ended, or is of another machine."""
    below: dict[int, list[OsProcess]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdecimal() and (child := OsProcess.of(int(entry))) is not None:
            with contextlib.suppress(ProcessLookupError):
                below.setdefault(_parent(child.pid), []).append(child)
    found: list[OsProcess] = []
    # A number that was given anew meanwhile is another process's, and so are what it started.
    waiting = [process] if not process.is_gone() and process.is_here else []
    while waiting:
        children = [child for child in below.get(waiting.pop().pid, []) if child.started_ticks >= process.started_ticks]
        found += children
        waiting += children
    return found


def own_line() -> list[OsProcess]:
    """This process, its parent, and so on, as far as they are here."""
    line: list[OsProcess] = []
    process: OsProcess | None = OsProcess.own()
    while process is not None:
        line.append(process)
        try:
            process = OsProcess.of(_parent(process.pid))
        except ProcessLookupError:
            break
    return line


def _open(pid: int) -> int | None:
    """A pidfd; None for a number that nobody has, or a thread."""
    try:
        return os.pidfd_open(pid)
    except OSError as error:
        if error.errno not in _NO_PROCESS:
            raise
        return None


def _parent(pid: int) -> int:
    """The number of a process's parent; 0 if that is none of here. ProcessLookupError if there is no process."""
    return _fields(pid)[1]


def _fields(pid: int) -> tuple[str, int, int]:
    """State, parent and start of a process. ProcessLookupError if there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError) as error:
        raise ProcessLookupError(pid) from error
    fields = text.rpartition(")")[2].split()
    return fields[_STATE_FIELD], int(fields[_PARENT_FIELD]), int(fields[_STARTED_FIELD])

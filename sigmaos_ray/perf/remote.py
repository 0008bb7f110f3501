"""Profiles of another process of this machine: by py-spy, or by the sampler inside it, which an *agent* there starts.

An agent is a thread that listens on an abstract socket named after its process. It talks to processes of the same user
only; one question, one answer, each a length and a message in msgpack.
"""

from __future__ import annotations

import os
import select
import socket
import struct
import tempfile
import threading
import time
from pathlib import Path
from typing import Final

import msgspec

from sigmaos_ray import config, debug, decoding, serr
from sigmaos_ray.machine import OsProcess, machine
from sigmaos_ray.perf import ondemand, pyspy, recording
from sigmaos_ray.perf.profile import Profile
from sigmaos_ray.perf.recording import ProfileResult
from sigmaos_ray.perf.selection import Kind

_HEAD: Final = struct.Struct("!I")
_CREDENTIALS: Final = struct.Struct("3i")
_MESSAGE_BYTES_MAX: Final = 64 << 20


class _Question(msgspec.Struct, frozen=True):
    """What an agent is asked for. The asker may close its side early: the profile ends then."""

    kind: str
    seconds: float
    rate_hz: float


_decode_question: Final = decoding.msgpack_decoder(_Question)


class _Answer(msgspec.Struct, frozen=True):
    """A profile, or an error of ``serr`` if ``error_code`` is not 0."""

    stacks: bytes = b""
    unit: str = ""
    how: str = ""
    error_code: int = 0
    error_obj: str = ""
    error_msg: str = ""


_decode_answer: Final = decoding.msgpack_decoder(_Answer)


def kind_of(name: str) -> Kind:
    """The kind of profile of that name. Inval for what is none."""
    try:
        kind = Kind(name)
    except ValueError:
        kind = None
    if kind not in recording.PROFILES:
        raise serr.Inval(name, f"a profile is one of {', '.join(kind.value for kind in recording.PROFILES)}")
    return kind


def process_of(os_pid: int) -> OsProcess:
    """The process of this machine that has this number now. NotFound if none has, or it is a thread's."""
    process = OsProcess.of(os_pid)
    if process is None:
        raise serr.NotFound(str(os_pid), "no such process on this machine")
    return process


def take(
    process: OsProcess, kind: Kind, seconds: float, rate_hz: float, over: threading.Event | None = None
) -> ProfileResult:
    """Profiles a process of this machine for so long, or until ``over`` is set; blocks for it. CPU time by py-spy if
    the system lets it, all else by the process's own agent. NotFound if it is gone or of another machine, Unreachable
    if neither can profile it, Timeout if its agent does not answer, Exists while another profile of it is taken."""
    recording.check(kind, seconds, rate_hz)
    over = over or threading.Event()
    os_pid = process.pid
    if not process.is_alive():
        raise serr.NotFound(str(os_pid), "no such process on this machine")
    if os_pid == os.getpid():
        return _take_here(kind, seconds, rate_hz, over)
    denied = f"{kind.value} is recorded inside the process"
    if kind is Kind.CPU and pyspy.is_wanted():
        try:
            return _spy(os_pid, seconds, rate_hz, over)
        except pyspy.Denied as error:
            denied = str(error)
    return _ask(os_pid, _Question(kind.value, seconds, rate_hz), denied, over)


def _take_here(kind: Kind, seconds: float, rate_hz: float, over: threading.Event) -> ProfileResult:
    with tempfile.TemporaryDirectory(prefix="sigmaos-perf-") as directory:
        return recording.take(kind, seconds, rate_hz, Path(directory) / "raw", wait=over.wait)


def _spy(os_pid: int, seconds: float, rate_hz: float, over: threading.Event) -> ProfileResult:
    spy = pyspy.PySpy(os_pid, rate_hz)
    spy.start()
    over.wait(seconds)
    return ProfileResult(spy.stop(), "py-spy")


def _address(os_pid: int) -> str:
    # With the machine: abstract names may be seen by processes that do not see each other's numbers.
    return f"\0sigmaos-perf-{machine()}-{os_pid}"


def _ask(os_pid: int, question: _Question, denied: str, over: threading.Event) -> ProfileResult:
    """By the process's agent. ``denied``: why py-spy did not do it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        limits = config.current().observing
        # The agent has py-spy take the profile where it can: which has to attach before, and to end after it.
        connection.settimeout(question.seconds + limits.attach_timeout_s + limits.detach_timeout_s)
        try:
            _connect(connection, os_pid)
            _send(connection, msgspec.msgpack.encode(question))
            if over.wait(question.seconds):
                connection.shutdown(socket.SHUT_WR)  # the agent sees the end
            answer = _decode_answer(_receive(connection))
        except TimeoutError as error:
            raise serr.Timeout(str(os_pid), "the process does not answer: it may hold the interpreter") from error
        except (OSError, msgspec.DecodeError) as error:
            raise serr.Unreachable(
                str(os_pid), f"{denied}; nor does the process itself answer: it runs no procs of SigmaOS"
            ) from error
    if answer.error_code:
        raise serr.from_code(answer.error_code, answer.error_obj, answer.error_msg)
    return ProfileResult(Profile.unpack(answer.stacks, answer.unit), f"{answer.how} ({denied})")


def _connect(connection: socket.socket, os_pid: int) -> None:
    """To the process's agent, which it may first have to start."""
    try:
        connection.connect(_address(os_pid))
        return
    except ConnectionRefusedError:
        if not ondemand.request(os_pid):
            raise
    limits = config.current().observing
    ends_s = time.monotonic() + limits.attach_timeout_s
    while connection.connect_ex(_address(os_pid)):
        if time.monotonic() > ends_s:
            raise TimeoutError
        time.sleep(limits.agent_poll_s)


def _send(connection: socket.socket, data: bytes) -> None:
    connection.sendall(_HEAD.pack(len(data)) + data)


def _receive(connection: socket.socket) -> bytes:
    (size,) = _HEAD.unpack(_exactly(connection, _HEAD.size))
    if size > _MESSAGE_BYTES_MAX:
        raise OSError(f"a message of {size} bytes")
    return _exactly(connection, size)


def _exactly(connection: socket.socket, count: int) -> bytes:
    """So many bytes. ConnectionResetError if the other end has no more."""
    data = bytearray()
    while len(data) < count:
        more = connection.recv(min(count - len(data), 1 << 20))
        if not more:
            raise ConnectionResetError("the other end closed")
        data += more
    return bytes(data)


class Agent:
    """Answers for this process, one asker after the other, in a thread that waits without cost. ``close`` ends it; else
    it ends with the process."""

    def __init__(self) -> None:
        """OSError if this process has one already."""
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._listener.bind(_address(os.getpid()))
            self._listener.listen(8)
        except OSError:
            self._listener.close()
            raise
        self._thread = threading.Thread(target=self._run, name="sigmaos-perf-agent", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:  # closed
                return
            with connection:
                try:
                    self._serve(connection)
                except (OSError, msgspec.DecodeError) as error:  # whoever asked is gone, or speaks something else
                    debug.error(f"profile: {error}")

    def _serve(self, connection: socket.socket) -> None:
        # Askers are served one at a time: one that says nothing must not keep out the others.
        connection.settimeout(5.0)
        # An abstract socket has no permissions: the kernel says who is at the other end.
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        _, uid, _ = _CREDENTIALS.unpack(credentials)
        if uid not in (os.getuid(), 0):
            return
        question = _decode_question(_receive(connection))
        _send(connection, msgspec.msgpack.encode(_answer(question, connection)))

    def close(self) -> None:
        """Blocks until the thread has ended, after a profile that it takes."""
        # A close alone does not wake a thread that waits in ``accept``.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


def _answer(question: _Question, connection: socket.socket) -> _Answer:
    """By this process's own means: py-spy was tried from without. It ends when the other end says no more."""

    def wait(seconds: float) -> None:
        select.select([connection], [], [], seconds)

    try:
        kind = kind_of(question.kind)
        with tempfile.TemporaryDirectory(prefix="sigmaos-perf-") as directory:
            raw = Path(directory) / "raw"
            result = recording.take(kind, question.seconds, question.rate_hz, raw, may_spy=False, wait=wait)
    except serr.SigmaError as error:
        return _Answer(error_code=int(error.code), error_obj=error.obj, error_msg=error.msg or "")
    return _Answer(stacks=result.profile.pack(), unit=result.profile.unit, how=result.how)

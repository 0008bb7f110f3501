"""A proc's own process, from its fork to its end.

It is forked before its proc is there, and waits. Then it runs the proc, as ``python program.py`` would run a program
(X-38), tells its worker how that ended once all of it is over, and ends without any further ado.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import os
import socket
import sys
import time
from typing import TYPE_CHECKING

import msgspec

from sigmaos_ray import config, crash, debug
from sigmaos_ray.config import ProcEnv
from sigmaos_ray.pb import proc_pb2 as pb
from sigmaos_ray.proc import Status
from sigmaos_ray.procclnt import lease
from sigmaos_ray.procclnt.lease import ProcLease
from sigmaos_ray.runner import children, ending, freshness, interpreter, program, surroundings
from sigmaos_ray.runner.sparelogs import ProcLog
from sigmaos_ray.runner.spawntimes import SpawnTimes
from sigmaos_ray.sessp import plain

if TYPE_CHECKING:
    from sigmaos_ray.runner.sparelogs import SpareLog


_keepers_modules: frozenset[str] = frozenset()


def prepare() -> None:
    """In the keeper: imports what a typical proc needs, once for all of them."""
    from sigmaos_ray import sigmaclnt  # noqa: F401  # most programs have a client

    global _keepers_modules
    _keepers_modules = frozenset(sys.modules)
    # Behind what a program registers, which may use its clients; before their loop's own end.
    atexit.register(surroundings.close_clients)


def main(fd: int, spare: SpareLog | None, base_modules: frozenset[str]) -> int:
    """The process: ``fd`` is its end of the socket between it and its worker. Returns its exit code."""
    log = ProcLog(spare)
    log.install()
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, fd)
    _rehearse()
    data = receive(sock)
    if data is None:  # there will be no proc
        return 0
    process = OwnProcess(pb.ProcStart.FromString(data), sock, log, base_modules)
    process.begin(data)
    return process.run()


def go_on(kept: str) -> int:
    """The same, in an interpreter that was begun anew for the proc."""
    data, fd, log = interpreter.kept(kept)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, fd)
    prepare()
    return OwnProcess(pb.ProcStart.FromString(data), sock, log, frozenset(sys.modules)).run()


def receive(sock: socket.socket) -> bytes | None:
    """The ProcStart; None if the worker has closed its end."""
    try:
        head = sock.recv(plain.SIZE.size, socket.MSG_WAITALL)
        if len(head) < plain.SIZE.size:
            return None
        size = plain.SIZE.unpack(head)[0]
        data = sock.recv(size, socket.MSG_WAITALL)
    except OSError:
        return None
    return data if len(data) == size else None


class OwnProcess:
    """This process, as the one of a proc."""

    def __init__(self, start: pb.ProcStart, sock: socket.socket, log: ProcLog, base_modules: frozenset[str]) -> None:
        self._start = start
        self._spec = start.proc
        self._log = log
        self._base_modules = base_modules
        self._times = SpawnTimes()
        self._sock = sock
        self._lease = ProcLease(self._spec.pid, sock)
        self._os_pid = os.getpid()

    def begin(self, data: bytes) -> None:
        """This process becomes the proc's. ``data``: the ProcStart as it came."""
        _give_way(self._spec)
        self._log.begin(self._spec.pid, self._spec.program)
        proc_env = surroundings.proc_env_of(self._spec, ProcEnv.from_json(self._start.instance.decode()))
        env = surroundings.environment_of(self._spec, proc_env)
        if interpreter.is_needed(self._spec.env):
            interpreter.begin_anew(interpreter.Kept(data, self._sock.fileno(), self._log), {**os.environ, **env})
        os.environ.update(env)
        if "TZ" in self._spec.env:
            time.tzset()

    def run(self) -> int:
        """Runs the proc to its end; returns the exit code."""
        sys.argv = [self._spec.program, *self._spec.args]
        lease.install(self._lease)
        debug.configure()
        crash.configure(who=self._spec.pid)
        status, code = self._status_of_program(os.environ["SIGMAPERF"])
        return self._end(status, code)

    def _status_of_program(self, perf: str) -> tuple[Status, int]:
        try:
            with surroundings.profiled(self._spec.program, perf), surroundings.faults():
                main = program.load(self._spec)
                self._tell_loaded()
                self._times.main_begins()
                status, code = program.ended(main, list(self._spec.args))
                self._times.main_ended()
                return status, code
        except program.NoProgram as error:
            print(error, file=sys.stderr)
            return Status.err(str(error)), 1

    def _tell_loaded(self) -> None:
        """Of what had to be imported for this proc, and need not be for the next one."""
        if modules := _new_modules(self._base_modules):
            importable = [name for name in modules if _is_importable(name)]
            self._send(pb.ProcWord(loaded=pb.ProcLoaded(modules=importable)))

    def _end(self, status: Status, code: int) -> int:
        ending.end_program([name for name in _new_modules(_keepers_modules) if _is_users(name)])
        # A forked child of the program that came back from its main function ends as such: it is not the proc.
        if os.getpid() != self._os_pid:
            return code
        children.end_all()
        self._log.settle(self._start.log_dir, self._spec.pid)
        message = _message_of(status)
        self._times.add_to(message)
        self._send(pb.ProcWord(done=message))
        return code

    def _send(self, word: pb.ProcWord) -> None:
        with contextlib.suppress(OSError):  # the worker is gone, and so will this process be
            self._lease.send(word)


def _new_modules(base_modules: frozenset[str]) -> list[str]:
    """Those that are not among these, in the order of their imports. From the end: to go through all would touch each
    of them, and what is touched has to be copied, since the template has it as well."""
    new: list[str] = []
    for name in reversed(sys.modules):
        if name in base_modules:
            break
        new.append(name)
    return new[::-1]


def _is_importable(name: str) -> bool:
    """Not what a library put there by itself."""
    spec = getattr(sys.modules.get(name), "__spec__", None)
    return spec is not None and spec.name == name and spec.loader is not None


def _is_users(name: str) -> bool:
    return freshness.is_users(name, getattr(sys.modules.get(name), "__file__", None))


def _message_of(status: Status) -> pb.ProcStatus:
    """Text that is no UTF-8, such as a file's name in an error, travels escaped."""
    return msgspec.structs.replace(status, msg=_escaped(status.msg)).to_pb()


def _escaped(text: str) -> str:
    return text if text.isascii() else text.encode(errors="backslashreplace").decode()


def _give_way(spec: pb.ProcSpec) -> None:
    """Best-effort procs run when nobody else wants to: beside one that reserves cores they hardly count. Niceness would
    not do, since Ray's workers have much of it already, and who reserves cores has as much."""
    if not spec.mcpu:
        with contextlib.suppress(OSError):  # not allowed here
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


# -- before there is a proc


def _rehearse() -> None:
    """Does what a proc will do, as far as it leaves no trace. A process that was forked shares its memory with others
    until it writes there, and each first write takes the system some time: it is taken now, while nobody waits."""
    spec = pb.ProcSpec(pid="p", program="p", args=["a"], env={"A": "b"})
    data = pb.ProcStart(proc=spec, instance=ProcEnv(pid="p").to_json().encode(), log_dir="l").SerializeToString()
    start = pb.ProcStart.FromString(data)
    proc_env = surroundings.proc_env_of(start.proc, ProcEnv.from_json(start.instance.decode()))
    surroundings.environment_of(start.proc, proc_env)
    program.ended(_nothing, list(start.proc.args))
    plain.message(pb.ProcWord(done=_message_of(Status.ok())).SerializeToString())
    config.current()
    children.has_any()
    gc.collect()


def _nothing(argv: list[str]) -> None:
    """A program."""

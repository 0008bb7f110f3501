"""A process of a proc, as the worker that has it knows it: it waits for its proc, or runs it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from google.protobuf.message import DecodeError

from sigmaos_ray import config, debug, serr
from sigmaos_ray.machine import OsProcess, machine
from sigmaos_ray.pb import proc_pb2 as pb
from sigmaos_ray.proc import Status
from sigmaos_ray.runner import proclog, sparelogs
from sigmaos_ray.runner.spawntimes import SpawnTimes
from sigmaos_ray.sessp import plain

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

_log = debug.selector("RUNNER")

_RECEIVE_BYTES: Final = 64 << 10
KILLED_STATUS: Final = int(signal.SIGKILL)
"""Of wait(2), for a process of which nobody could say how it ended: what ended its template had it killed."""


class Listener(Protocol):
    """What hears of a proc while it runs, on the loop and in order."""

    def started(self) -> None:
        """The proc says that it runs."""

    def reported(self, status: pb.ProcStatus) -> None:
        """The proc said how it ends; told once."""

    def waits(self, waits: bool) -> None:
        """The proc waits for other procs; or does so no more."""


class ProcProcess:
    """One process, for one proc. ``Templates.take`` gives it; used from its loop."""

    def __init__(self, sock: socket.socket, log_dir: str, loaded: Callable[[pb.ProcSpec, list[str]], None]) -> None:
        """``sock``: its own end, closed here. ``loaded`` is told which modules its program had to import."""
        loop = asyncio.get_running_loop()
        self.is_forked: asyncio.Future[bool] = loop.create_future()
        """False if the system had no process to give."""
        self.ended: asyncio.Future[int] = loop.create_future()
        """The status of wait(2), once it and all that it left behind have ended."""
        self.began: Callable[[], None] = lambda: None
        """Called when it has its proc."""
        self._loop = loop
        self._socket = sock
        self._log_dir = log_dir
        self._loaded = loaded
        self._process = OsProcess("", 0, 0)
        self._spare = ""
        self._spec = pb.ProcSpec()
        self._listener: Listener | None = None
        self._done: asyncio.Future[pb.ProcStatus | None] = loop.create_future()
        self._reported: pb.ProcStatus | None = None
        self._cutter = plain.Cutter(config.current().workers.word_bytes_max)
        self._is_evicted = self._has_start = False
        sock.setblocking(False)

    # -- its template's words

    def on_forked(self, os_pid: int, started_ticks: int, spare: str) -> None:
        """It is there."""
        self._process = OsProcess(machine(), os_pid, started_ticks)
        self._spare = spare
        self._tell_forked(True)

    def on_ended(self, wait_status: int) -> None:
        """It is gone, and all that it left behind."""
        if not self.ended.done():
            self.ended.set_result(wait_status)
        if self._listener is None:
            self.close()
        self._tell_forked(False)

    def _tell_forked(self, is_forked: bool) -> None:
        if not self.is_forked.done():
            self.is_forked.set_result(is_forked)

    # -- what its lease does

    @property
    def process(self) -> OsProcess:
        """Which process of which machine it is."""
        return self._process

    def is_waiting(self) -> bool:
        """Whether it is there and alive, as far as is known."""
        if self.ended.done() or self._socket.fileno() < 0:
            return False
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return not poll.poll(0)

    async def run(self, spec: pb.ProcSpec, instance: bytes, listener: Listener, token: str = "") -> pb.ProcStatus:
        """Hands it its proc, and returns the proc's status once all of it is over but the end of this process; for a
        process that died, once all that it left behind is gone, too. Cancelling it kills the proc. ``instance``: a
        ProcEnv, as JSON. ``token``: the proc's credentials."""
        worker_s = SpawnTimes().worker_s
        self._spec, self._listener = spec, listener
        self._loop.add_reader(self._socket, self._on_readable)
        keeping = self._loop.call_later(config.current().workers.notice_after_s, self.keep_log)
        try:
            await self._send(pb.ProcStart(proc=spec, instance=instance, log_dir=self._log_dir, token=token))
            self.began()
            status = await self._done
            if status is None:
                status = await self._status_of_crash()
        except BaseException:
            self.kill()
            self.ended.add_done_callback(lambda ended: self._note_crash(proclog.wait_words(ended.result())))
            raise
        finally:
            keeping.cancel()
            self.close()
        status.times.worker_s = worker_s
        return status

    async def _send(self, start: pb.ProcStart) -> None:
        data = plain.message(start.SerializeToString())
        with contextlib.suppress(ConnectionError):  # it has died, as its end will tell
            try:
                sent_count = self._socket.send(data)
            except BlockingIOError:
                sent_count = 0
            if sent_count < len(data):
                await self._loop.sock_sendall(self._socket, memoryview(data)[sent_count:])
        self._has_start = True
        if self._is_evicted:
            self._send_evicted()

    def evict(self) -> None:
        """Asks the proc to end. May be repeated, at any time."""
        if not self._is_evicted:
            self._is_evicted = True
            if self._has_start:
                self._send_evicted()

    def _send_evicted(self) -> None:
        with contextlib.suppress(OSError):  # it has ended
            self._socket.send(b"\0")

    def kill(self) -> None:
        """Kills it and its process group; ``run`` tells its end."""
        if self.process.pid and not self.ended.done():
            with contextlib.suppress(ProcessLookupError):  # it just ended, or has no group of its own yet
                os.killpg(self.process.pid, signal.SIGKILL)
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process.pid, signal.SIGKILL)

    def close(self) -> None:
        """A process that waits ends by itself now. May be repeated."""
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket)
            self._socket.close()

    # -- its words

    def _on_readable(self) -> None:
        try:
            data = self._socket.recv(_RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._finish(None)
            return
        try:
            for content in self._cutter.cut(data):
                self._on_word(pb.ProcWord.FromString(content))
        except (DecodeError, serr.Inval) as error:
            # The program wrote there itself: nothing that follows can be understood.
            _log(f"{self._spec.pid}: not a word: {error}")
            self.kill()
            self._loop.remove_reader(self._socket)
            self._finish(None)

    def _on_word(self, word: pb.ProcWord) -> None:
        kind = word.WhichOneof("word")
        if kind == "done":
            self._finish(word.done)
        elif kind == "loaded":
            self._loaded(self._spec, list(word.loaded.modules))
        elif self._listener is not None:
            if kind == "started":
                self._listener.started()
            elif kind == "waits":
                self._listener.waits(word.waits)
            elif kind == "reported" and self._reported is None:
                self._reported = word.reported
                self._listener.reported(word.reported)

    def _finish(self, status: pb.ProcStatus | None) -> None:
        if self._done.done():
            return
        if status is not None and self._reported is not None:
            self._reported.times.CopyFrom(status.times)
            status = self._reported
        self._done.set_result(status)
        if status is None:
            self._loop.remove_reader(self._socket)

    # -- its log, and its end without a word

    def keep_log(self) -> None:
        """Its log can be seen from now on; so it is anyhow once it runs for a while."""
        if self._spare:
            sparelogs.keep(str(proclog.spare(self._log_dir, self._spare)), self._log_dir, self._spec.pid)

    async def _status_of_crash(self) -> pb.ProcStatus:
        words = proclog.wait_words(await asyncio.shield(self.ended))
        self._note_crash(words)
        return self._reported or Status.crash(words).to_pb()

    def _note_crash(self, words: str) -> None:
        if self._spare:
            self.keep_log()
            sparelogs.append(Path(proclog.path(self._log_dir, self._spec.pid)), proclog.footer(self._spec.pid, words))

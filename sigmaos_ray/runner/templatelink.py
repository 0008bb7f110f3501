"""A template, as its worker knows it: what it is told to fork, and what became of that."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
import socket
from typing import TYPE_CHECKING, Final, TypeAlias

from sigmaos_ray import config
from sigmaos_ray.runner.procprocess import KILLED_STATUS, ProcProcess
from sigmaos_ray.runner.templatewire import (
    Command,
    Ended,
    Forked,
    ForkProc,
    ForkTemplate,
    Ready,
    Retire,
    Unforked,
    decode_word,
    message,
)
from sigmaos_ray.sessp import plain

if TYPE_CHECKING:
    from collections.abc import Callable

    from sigmaos_ray.pb import proc_pb2 as pb

_RECEIVE_BYTES: Final = 64 << 10
_numbers: Final = itertools.count(1)

Loaded: TypeAlias = "Callable[[pb.ProcSpec, list[str]], None]"


class TemplateLink:
    """One of them; used from its loop. ``gone(link)`` is called when the template has ended, and when it is lost, too.
    ``ended(os_pid, status)`` is called for processes that are none of its own: a keeper's, of templates that died."""

    def __init__(
        self,
        sock: socket.socket,
        log_dir: str,
        gone: Callable[[TemplateLink], None],
        ended: Callable[[int, int], None] | None = None,
    ) -> None:
        """``sock``: its own end, closed here."""
        loop = asyncio.get_running_loop()
        self.ready: asyncio.Future[Ready] = loop.create_future()
        """What it has imported. Cancelled if it ended before."""
        self.os_pid = 0
        self.waiting: ProcProcess | None = None
        """Forked ahead, or about to be."""
        self.is_gone = self.is_lost = False
        self._loop = loop
        self._socket = sock
        self._log_dir = log_dir
        self._gone = gone
        self._ended = ended
        self._forking: dict[int, ProcProcess | TemplateLink] = {}
        self._processes: dict[int, ProcProcess | TemplateLink] = {}
        """By their process ids."""
        self._cutter = plain.Cutter(config.current().workers.word_bytes_max)
        loop.add_reader(sock, self._on_readable)

    # -- commands

    def fork_proc(self, loaded: Loaded) -> ProcProcess:
        """Has a process forked that waits for a proc."""
        ours, its = socket.socketpair()
        process = ProcProcess(ours, self._log_dir, loaded)
        self._fork(ForkProc(next(_numbers)), its, process)
        return process

    def fork_template(self, modules: list[str], program: str, gone: Callable[[TemplateLink], None]) -> TemplateLink:
        """Has a template forked that imports some modules of a program. Of a keeper."""
        ours, its = socket.socketpair()
        link = TemplateLink(ours, self._log_dir, gone)
        self._fork(ForkTemplate(next(_numbers), modules, program), its, link)
        return link

    def _fork(self, command: ForkProc | ForkTemplate, its: socket.socket, forked: ProcProcess | TemplateLink) -> None:
        self._forking[command.number] = forked
        with its:
            self._send(command, its.fileno())

    def retire(self) -> None:
        """It ends once its processes have ended."""
        if self.waiting is not None:
            self.waiting.close()
            self.waiting = None
        self._send(Retire())

    def _send(self, command: Command, *fds: int) -> None:
        data = message(command)
        with contextlib.suppress(OSError):  # it is gone, as its end will tell
            # Blocking, since what it is told is short: it reads as soon as it has done what it was told before.
            sent_count = socket.send_fds(self._socket, [data], fds)
            self._socket.sendall(data[sent_count:])

    def kill(self) -> None:
        """Ends it at once, and with it what it forked."""
        if self.os_pid and not self.is_gone:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.os_pid, signal.SIGKILL)

    def close(self) -> None:
        """It kills what it forked and ends, of which nothing more is heard. May be repeated."""
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket)
            self._socket.close()

    # -- words

    def _on_readable(self) -> None:
        if self._receive() is False:
            self.close()
            self.is_gone = True
            self._gone(self)

    def _receive(self) -> bool | None:
        """Takes in what it said; None if it has said nothing, false if it never will."""
        try:
            data = self._socket.recv(_RECEIVE_BYTES, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return None
        except OSError:
            data = b""
        for content in self._cutter.cut(data):
            word = decode_word(content)
            if isinstance(word, Forked | Unforked):
                self._on_forked(word)
            elif isinstance(word, Ended):
                self.on_ended(word.os_pid, word.wait_status)
            elif not self.ready.done():
                self.ready.set_result(word)
        return bool(data)

    def _on_forked(self, word: Forked | Unforked) -> None:
        forked = self._forking.pop(word.number)
        if isinstance(word, Unforked):
            forked.on_ended(KILLED_STATUS) if isinstance(forked, ProcProcess) else forked.lost()
            return
        self._processes[word.os_pid] = forked
        if isinstance(forked, ProcProcess):
            forked.on_forked(word.os_pid, word.started_ticks, word.spare)
        else:
            forked.os_pid = word.os_pid

    def on_ended(self, os_pid: int, wait_status: int) -> bool:
        """A process has ended; false if it is not one of this template's."""
        ended = self._processes.pop(os_pid, None)
        if isinstance(ended, ProcProcess):
            ended.on_ended(wait_status)
        elif ended is not None:
            ended.lost()
        elif self._ended is not None:
            self._ended(os_pid, wait_status)
        return ended is not None

    def lost(self) -> None:
        """It has ended, and nobody will tell any more how its processes did. May be repeated."""
        if self.is_lost:
            return
        self.is_gone = self.is_lost = True
        while self._receive():  # its last words, which another one's may have overtaken
            continue
        self.close()
        self.ready.cancel()
        for left in (*self._processes.values(), *self._forking.values()):
            if isinstance(left, ProcProcess):
                left.on_ended(KILLED_STATUS)
            else:
                left.lost()
        self._processes.clear()
        self._forking.clear()
        self._gone(self)

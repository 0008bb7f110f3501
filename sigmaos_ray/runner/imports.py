"""What a program template imports, and whether a process forked from it is like one that imports it itself (X-40).

It is not if the imports began something that a fork does not take along, such as a thread, or found something out that
is another thing in each process: the proc's variables, a process id, a random number, the time. Libraries may do so,
since they are written for processes that fork; the program's own modules are not.
"""

from __future__ import annotations

import asyncio
import builtins
import contextlib
import functools
import importlib
import io
import os
import random
import signal
import sys
import time
from importlib.machinery import SourceFileLoader
from typing import TYPE_CHECKING, Any, Final

from sigmaos_ray.runner import children, freshness, program
from sigmaos_ray.runner.templatewire import Ready

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

_OF_PROCS: Final = ("SIGMACONFIG", "SIGMADEBUG", "SIGMADEBUGPID", "SIGMAPERF", "SIGMAFAIL")


def imported(modules: list[str], program_name: str) -> Ready:
    """Imports them, and finds the program. Never raises."""
    watch = _Watch()
    before = _State()
    with _captured() as output, watch.watching():
        try:
            for name in modules:
                importlib.import_module(name)
            if program_name:
                program.know(program_name)
        except BaseException as error:  # noqa: BLE001  # whatever a module's top level does
            watch.refuse(f"{type(error).__name__}: {error}")
    if os.fstat(output).st_size:
        watch.refuse("it prints")
    os.close(output)
    watch.refuse(before.why_changed())
    return Ready(watch.files(), watch.refusal.encode(errors="backslashreplace").decode())


@contextlib.contextmanager
def _captured() -> Iterator[int]:
    """What is printed within the block is in the file that this gives, which the caller closes."""
    output = os.memfd_create("sigmaos-output")
    saved = os.dup(1), os.dup(2)
    os.dup2(output, 1)
    os.dup2(output, 2)
    try:
        yield output
    finally:
        for fd, stream, old in zip((1, 2), (sys.stdout, sys.stderr), saved, strict=True):
            with contextlib.suppress(Exception):  # a module's own
                stream.flush()
            os.dup2(old, fd)
            os.close(old)


class _State:
    """What a process is like that a fork hands on badly or not at all."""

    def __init__(self) -> None:
        self.random = random.getstate()
        self.handlers = {number: signal.getsignal(number) for number in signal.valid_signals()}
        self.mask = signal.pthread_sigmask(signal.SIG_BLOCK, [])
        self.fds = _open_fds()
        self.variables = {name: os.environ.get(name) for name in _OF_PROCS}
        self.streams = sys.stdin, sys.stdout, sys.stderr
        self.loop_policy = asyncio.events._event_loop_policy  # type: ignore[attr-defined]  # asking would make one

    def why_changed(self) -> str:
        """What is another thing now; empty if nothing is."""
        after = _State()
        reasons = {
            "it started threads": len(os.listdir("/proc/self/task")) > 1,
            "it started processes": children.has_any(),
            "it used the state of random, which is another one in each process": after.random != self.random,
            "it set handlers of signals": after.handlers != self.handlers or after.mask != self.mask,
            "it left files or connections open": bool(after.fds - self.fds),
            "it started timers": any(any(signal.getitimer(which)) for which in _TIMERS),
            "it set variables of procs": after.variables != self.variables,
            "it replaced the standard streams": after.streams != self.streams,
            "it set up asyncio": after.loop_policy is not self.loop_policy,
        }
        return next((reason for reason, is_so in reasons.items() if is_so), "")


_TIMERS: Final = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)


def _open_fds() -> set[str]:
    """Descriptors, and what they stand for."""
    fds = set()
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # that of the directory itself
            fds.add(f"{fd} {os.readlink(f'/proc/self/fd/{fd}')}")
    return fds


class _Watch:
    """Looks over the shoulder of modules while they are imported."""

    def __init__(self) -> None:
        self.refusal = ""
        self._is_over = False
        self._files: dict[str, freshness.Stamp] = {}

    def refuse(self, why: str) -> None:
        """The first reason is told."""
        self.refusal = self.refusal or why

    def files(self) -> dict[str, freshness.Stamp]:
        """Of the program's own modules, and what these read, with what they were like before they were read."""
        for name, module in list(sys.modules.items()):
            file = getattr(module, "__file__", None)
            if isinstance(file, str) and file not in self._files and freshness.is_users(name, file):
                self._files[file] = freshness.stamp_of(file)  # none of Python's source
        return self._files

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Within the block."""
        patched: list[tuple[Any, str, Any]] = []

        def patch(owner: Any, name: str, make: Callable[[Any], Any]) -> None:
            patched.append((owner, name, getattr(owner, name)))
            setattr(owner, name, make(getattr(owner, name)))

        patch(SourceFileLoader, "path_stats", self._noting_source)
        for owner, name in ((builtins, "open"), (io, "open")):
            patch(owner, name, self._noting_file)
        for owner, name, what in _ASKED:
            patch(owner, name, functools.partial(self._refusing, what=what))
        patch(random.Random, "seed", self._refusing_seed)
        patch(os.environ, "_data", lambda data: _Variables(data, self._on_variable))
        patch(sys, "argv", lambda argv: _Arguments(argv, self))
        try:
            yield
        finally:
            self._is_over = True  # a module may have kept what it found in place of the real things
            for owner, name, real in reversed(patched):
                # Variables that a module set are kept: its own process would have them, too.
                setattr(owner, name, dict(os.environ._data) if name == "_data" else real)  # type: ignore[attr-defined]

    def _noting_source(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def path_stats(loader: SourceFileLoader, path: str) -> Any:
            if freshness.is_users(loader.name, path):
                # Before it is read: if it changes meanwhile, it is another one than is noted here.
                self._files[path] = freshness.stamp_of(path)
            return real(loader, path)

        return path_stats

    def _noting_file(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def opened(file: Any, *args: Any, **options: Any) -> Any:
            if not isinstance(file, int) and self._is_asked_by_program():
                path = os.path.abspath(os.fsdecode(file))
                self._files[path] = freshness.stamp_of(path)
            return real(file, *args, **options)

        return opened

    def _refusing(self, real: Callable[..., Any], what: str) -> Callable[..., Any]:
        def asked(*args: Any, **options: Any) -> Any:
            if self._is_asked_by_program():
                self.refuse(f"it asks for {what} as it is imported")
            return real(*args, **options)

        return asked

    def _refusing_seed(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def seed(generator: random.Random, a: Any = None, version: int = 2) -> Any:
            if a is None and self._is_asked_by_program():
                self.refuse("it asks for random numbers as it is imported")
            return real(generator, a, version)

        return seed

    def _on_variable(self, name: bytes | None) -> None:
        """None: all of them."""
        if (name is None or name.decode(errors="replace") in _OF_PROCS) and self._is_asked_by_program():
            self.refuse("it asks for variables of procs as it is imported")

    def on_arguments(self) -> None:
        """Somebody reads them."""
        if self._is_asked_by_program():
            self.refuse("it asks for arguments as it is imported")

    def _is_asked_by_program(self) -> bool:
        """Whether what happens now is done for a module of the program's own, not by a library as it is imported."""
        if self._is_over:
            return False
        frame: FrameType | None = sys._getframe(2)
        while frame is not None:
            if frame.f_code.co_name == "<module>":
                return freshness.is_users(str(frame.f_globals.get("__name__")), frame.f_globals.get("__file__"))
            frame = frame.f_back
        return False


_ASKED: Final = (
    (os, "getpid", "a process id"),
    (os, "urandom", "random numbers"),
    (random, "_urandom", "random numbers"),
    *((time, name, "the time") for name in ("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter")),
)


class _Variables(dict[bytes, bytes]):
    """The environment, below ``os.environ``."""

    def __init__(self, data: dict[bytes, bytes], on_read: Callable[[bytes | None], None]) -> None:
        super().__init__(data)
        self._on_read = on_read

    def __getitem__(self, name: bytes) -> bytes:
        self._on_read(name)
        return super().__getitem__(name)

    def __iter__(self) -> Iterator[bytes]:
        self._on_read(None)
        return super().__iter__()


class _Arguments(list[str]):
    """``sys.argv``."""

    def __init__(self, argv: list[str], watch: _Watch) -> None:
        super().__init__(argv)
        self._watch = watch

    def __getitem__(self, index: Any) -> Any:
        self._watch.on_arguments()
        return super().__getitem__(index)

    def __iter__(self) -> Iterator[str]:
        self._watch.on_arguments()
        return super().__iter__()

    def __len__(self) -> int:
        self._watch.on_arguments()
        return super().__len__()

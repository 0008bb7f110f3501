"""What a proc may change of the process that runs it, and how it is put back for the next one.

Imported modules stay: that is what a warm worker is for.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from _signal import getsignal  # type: ignore[import-not-found]  # those of ``signal`` make enums: 10 times slower
from _signal import signal as set_handler
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_RESTORABLE: Final = sorted(int(number) for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})


@contextlib.contextmanager
def isolated(argv: list[str], env: Mapping[str, str]) -> Iterator[None]:
    """Within the block ``sys.argv`` and the environment are the proc's. Afterwards these, the working directory,
    umask, import path and signal handlers are as before. Main thread only."""
    saved_env, saved_argv, saved_path = _environment(), sys.argv, list(sys.path)
    saved_cwd, saved_umask = _cwd(), _umask()
    handlers = {number: getsignal(number) for number in _RESTORABLE}
    os.environ.update(env)
    sys.argv = argv
    try:
        yield
    finally:
        signal.alarm(0)  # before its handler goes: the default one would end the worker
        _restore_handlers(handlers)
        _restore_env(saved_env)
        sys.argv, sys.path[:] = saved_argv, saved_path
        os.umask(saved_umask)
        if saved_cwd is not None and _cwd() != saved_cwd:
            os.chdir(saved_cwd)


def _cwd() -> str | None:
    try:
        return os.getcwd()
    except FileNotFoundError:  # somebody removed it
        return None


def _umask() -> int:
    # The system tells the mask only to who sets one: a strict one, for files that another thread makes in between.
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _environment() -> dict[bytes, bytes]:
    """A copy of the environment as the system has it, without decoding each variable."""
    return dict(os.environ._data)  # type: ignore[attr-defined]  # a dict of bytes on every POSIX system


def _restore_env(saved: dict[bytes, bytes]) -> None:
    now = _environment()
    if now == saved:
        return
    # Through the mapping, not its dict: that tells the C library, too, whose environment children and extensions get.
    for name in now.keys() - saved.keys():
        del os.environb[name]
    for name, value in saved.items() - now.items():
        os.environb[name] = value


def _restore_handlers(handlers: Mapping[int, Any]) -> None:
    for number, handler in handlers.items():
        # None stands for a handler that C code installed: from here it can neither be told nor put back.
        if handler is not None and getsignal(number) is not handler:
            set_handler(number, handler)


@contextlib.contextmanager
def on_death(note: Callable[[int | None, int | None], None]) -> Iterator[None]:
    """Within the block, ``note(exit_code, signal_number)`` is called before this process ends by ``os._exit`` or by
    one of the signals that ask a process to end. What a program installs itself takes precedence. Blocks may be nested:
    the inner one is told first."""
    own_pid, real_exit = os.getpid(), os._exit
    outer: dict[int, Any] = {number: getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}

    def exit_noted(code: int) -> Any:
        if os.getpid() == own_pid:  # not in a forked child
            note(code, None)
        real_exit(code)

    def end(number: int, frame: object) -> None:
        if os.getpid() == own_pid:
            note(None, number)
        if getattr(outer[number], "notes_death", False):
            outer[number](number, frame)
        # By the signal itself, not an exit code: who waits for this process is to see what ended it.
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    end.notes_death = True  # type: ignore[attr-defined]
    for number in outer:
        set_handler(number, end)
    os._exit = exit_noted  # type: ignore[assignment]
    try:
        yield
    finally:
        # The handlers are left to ``isolated``, around this: it also puts back what the program installed over them.
        os._exit = real_exit

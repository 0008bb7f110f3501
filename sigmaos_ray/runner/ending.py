"""How a program's process ends: as Python programs do, though its interpreter goes on to tell about it (X-39).

In Python's order: threads that are no daemons are joined, functions registered with ``atexit`` run, what modules hold
is dropped, so that finalizers run, and what is in buffers is written.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import gc
import io
import sys
import threading
import traceback
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_libc = ctypes.CDLL(None)


def end_program(modules: Iterable[str]) -> None:
    """Blocks until the program's threads have ended. ``modules``: the names of those that are the program's. Never
    raises: what a program does wrong so late is printed."""
    _told(threading._shutdown)  # type: ignore[attr-defined]  # what the interpreter calls at its end
    _told(atexit._run_exitfuncs)
    # Not beside daemons, which an interpreter that ends would not let run on: they would find nothing there any more.
    if threading.active_count() == 1:
        _told(lambda: _drop(modules))
    end_quietly()


def end_quietly() -> None:
    """What of it leaves no trace: all that is in buffers is written."""
    _flush_writers()
    flush_streams()


def _told(step: Callable[[], None]) -> None:
    try:
        step()
    except BaseException:  # noqa: BLE001  # a program's own, such as an interrupt
        traceback.print_exc()


def _drop(modules: Iterable[str]) -> None:
    """Modules go, and what they held: files are closed, finalizers run."""
    dropped = [sys.modules.pop(name, None) for name in modules]
    for module in dropped:
        names = getattr(module, "__dict__", {})
        for name in list(names):
            if name != "__builtins__":
                names[name] = None
    dropped.clear()
    gc.collect()


def _flush_writers() -> None:
    """Files that something else still holds."""
    for thing in gc.get_objects():
        if isinstance(thing, io.TextIOWrapper | io.BufferedWriter | io.BufferedRandom):
            with contextlib.suppress(Exception):  # closed, or its other end is gone
                if thing.writable():
                    thing.flush()


def flush_streams() -> None:
    """Empties the buffers of the standard streams, of Python and of the C library."""
    for stream in {id(each): each for each in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__)}.values():
        try:
            stream.flush()  # type: ignore[union-attr]  # the program may have put None there
        except Exception:  # noqa: BLE001  # it closed it, or put one of its own in its place
            continue
    _libc.fflush(None)

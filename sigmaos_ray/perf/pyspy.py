"""CPU profiles by py-spy, a process of its own that reads this or another process's memory.

py-spy needs ptrace. Where the system forbids it, ``Denied`` says so and what helps; the sampler inside the process does
without.
"""

from __future__ import annotations

import ctypes
import os
import select
import shutil
import signal
import subprocess
import sysconfig
import tempfile
import time
from pathlib import Path
from typing import Final

from sigmaos_ray import config, extras
from sigmaos_ray.perf.profile import Profile
from sigmaos_ray.perf.sampler import OWN_THREADS

# From linux/prctl.h; Python has no names for these.
_PR_SET_PTRACER: Final = 0x59616D61
_PTRACER_ANY: Final = ctypes.c_ulong(-1).value
_DENIED_WORDS: Final = ("permission", "not permitted", "ptrace", "eperm")
# What py-spy prints once it is attached; before that a profile would miss what runs.
_SAMPLES: Final = b"Sampling process"


class Denied(Exception):
    """py-spy cannot be used; the text says why and what helps."""


def is_wanted() -> bool:
    """False if ``SIGMAOS_PERF_PYSPY=0`` asks for the sampler inside the process."""
    return os.environ.get("SIGMAOS_PERF_PYSPY", "1") != "0"


def find() -> str:
    """Where py-spy is: beside this Python, else on PATH. Denied if it is not installed."""
    beside = Path(sysconfig.get_path("scripts")) / "py-spy"
    program = str(beside) if beside.exists() else shutil.which("py-spy")
    if program is None:
        raise Denied(f"py-spy is not installed: {extras.install('perf')}")
    return program


class PySpy:
    """A record of one process of this machine, from ``start`` until ``stop``. Whoever starts it stops it: py-spy is a
    child process, with a directory of its own."""

    def __init__(self, os_pid: int, rate_hz: float) -> None:
        self._os_pid = os_pid
        self._rate_hz = max(1, round(rate_hz))
        self._process: subprocess.Popen[bytes] | None = None
        self._directory = ""

    def start(self) -> None:
        """Blocks until it samples, some tenths of a second. Denied if it cannot."""
        program = find()
        self._directory = tempfile.mkdtemp(prefix="sigmaos-py-spy-")
        command = [program, "record", "--pid", str(self._os_pid), "--rate", str(self._rate_hz)]
        command += ["--format", "raw", "--threads", "--nonblocking", "--output", str(self._raw)]
        try:
            self._process = _launch(command)
            if self._os_pid == os.getpid():
                _let_trace(_PTRACER_ANY)
            self._await_samples()
        except BaseException:
            self._drop()
            raise

    @property
    def _raw(self) -> Path:
        return Path(self._directory) / "raw"

    def _await_samples(self) -> None:
        """Blocks until py-spy says that it samples. Denied if it ends instead, or says nothing for too long."""
        assert self._process is not None
        assert self._process.stdout is not None
        output = b""
        timeout_s = config.current().observing.attach_timeout_s
        deadline_s = time.monotonic() + timeout_s
        while _SAMPLES not in output:
            readable, _, _ = select.select([self._process.stdout], [], [], max(0.0, deadline_s - time.monotonic()))
            if not readable:
                raise Denied(f"py-spy did not attach to process {self._os_pid} within {timeout_s:g} s")
            data = os.read(self._process.stdout.fileno(), 4096)
            if not data:
                raise Denied(why(output.decode(errors="replace"), self._os_pid))
            output += data

    def stop(self) -> Profile:
        """Ends the record and returns it; blocks until py-spy has written it. Denied if py-spy failed meanwhile. Empty
        if it was not started."""
        process = self._process
        if process is None:
            return Profile()
        timeout_s = config.current().observing.detach_timeout_s
        try:
            process.send_signal(signal.SIGINT)
            output, _ = process.communicate(timeout=timeout_s)
            return self._written(output)
        except subprocess.TimeoutExpired as error:
            raise Denied(f"py-spy did not end within {timeout_s:g} s") from error
        finally:
            self._drop()

    def _written(self, output: bytes) -> Profile:
        if not self._raw.exists():
            raise Denied(why(output.decode(errors="replace"), self._os_pid))
        text = "".join(line for line in self._raw.read_text().splitlines(True) if OWN_THREADS not in line)
        return Profile.from_text(text, weight_of_one=round(1e6 / self._rate_hz))

    @property
    def child_pid(self) -> int | None:
        """py-spy's own process, while it runs."""
        return None if self._process is None else self._process.pid

    def _drop(self) -> None:
        """Ends py-spy if it still runs, and removes what it wrote. May be repeated."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()
            if self._os_pid == os.getpid():
                _let_trace(0)
        shutil.rmtree(self._directory, ignore_errors=True)


def _launch(command: list[str]) -> subprocess.Popen[bytes]:
    """py-spy ends on SIGINT alone, and a child inherits what the calling thread blocks: Ray's threads do."""
    blocked = signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C of a terminal is for us, and we tell it
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def why(output: str, os_pid: int) -> str:
    """Why py-spy failed, as one line that says what helps. ``output``: all that it printed."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    reason = next((line for line in reversed(lines) if "rror" in line), lines[-1] if lines else "it said nothing")
    if any(word in output.lower() for word in _DENIED_WORDS):
        return (
            f"the system forbids ptrace on process {os_pid} ({reason}): "
            "allow it with kernel.yama.ptrace_scope=0, or CAP_SYS_PTRACE in a container"
        )
    return f"py-spy cannot attach to process {os_pid}: {reason}"


def _let_trace(who: int) -> None:
    """Where Yama lets a process trace its descendants only: who else may trace this one. 0: nobody."""
    ctypes.CDLL(None).prctl(_PR_SET_PTRACER, ctypes.c_ulong(who), 0, 0, 0)

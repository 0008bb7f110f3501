"""Starting and stopping an instance from outside: what ``sigmaos start`` and ``sigmaos stop`` call."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from kernel.boot import installed
from kernel.boot.children import end_recorded
from kernel.boot.raysession import end_session
from kernel.boot.request import BootRequest, decode_report
from kernel.service import service_names, services_of
from sigmaos_ray import extras, serr
from sigmaos_ray.config import LOCAL, LOOPBACK
from sigmaos_ray.instance import STATE_FILE_NAME, ChildProcess, Instance, read_instance

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

MARK: Final = "SIGMAOS_INSTANCE"
"""In the environment of all that an instance starts: its state directory."""


def start_instance(
    state_dir: str | os.PathLike[str],
    *,
    services: Sequence[str] | None = None,
    clean: bool = False,
    num_cpus: int | None = None,
    named_count: int | None = None,
    etcd_members: int | None = None,
    own_ray: bool | None = None,
    dashboard: bool | None = None,
    on_line: Callable[[str], None] = print,
) -> Instance:
    """Starts an instance and blocks until it is ready; ``on_line`` is told what it consists of, line by line.

    If one runs already in ``state_dir``, it is left as it is and returned. What a crashed one left is ended first.
    MissingExtra if what it needs is not installed, NotSupported if the installed Ray does not fit. Error with the cause
    if a part fails; then, and after an interrupt, everything is taken down again. NotSupported if the directory is that
    of an instance which serves on another machine.
    """
    directory = Path(state_dir).absolute()
    wanted = tuple(services) if services is not None else service_names()
    services_of(wanted)  # whether there are such
    if named_count is not None and named_count < 1:
        raise serr.Inval(str(named_count), "an instance has at least one named")
    directory.mkdir(parents=True, exist_ok=True)
    with _lock(directory):
        present = read_instance(directory / STATE_FILE_NAME)
        if present is not None:
            if is_running(present):
                on_line(f"an instance runs already: boot process {present.boot_pid}, state in {directory}")
                return present
            _refuse_if_elsewhere(present, directory / STATE_FILE_NAME)
            _end_leftovers(directory, present)
        request = BootRequest.from_environment(
            str(directory),
            services=wanted,
            clean=clean,
            num_cpus=num_cpus,
            named_count=named_count if named_count is not None else LOCAL.named.named_count,
            etcd_members=etcd_members,
            own_ray=own_ray,
            dashboard=dashboard,
        )
        installed.check(request)
        _launch(directory, request, on_line)
        started = read_instance(directory / STATE_FILE_NAME)
    if started is None:
        raise serr.Error("boot", f"ended right after its start; see {directory / 'logs' / 'boot.log'}")
    return started


def is_running(instance: Instance) -> bool:
    """True if the instance's boot process lives."""
    return instance.boot.is_alive()


def restore_instance(state_dir: str | os.PathLike[str], file: str | os.PathLike[str]) -> Path | None:
    """Puts a backup in the place of what named kept; returns where that is now, if there was any. Blocks. Retry while
    the instance runs, or is started or stopped; else as ``backup.restore``."""
    extras.need("aetcd", for_="sigmaos restore")
    from kernel.boot.backup import restore  # late: where it is not installed, all else here must work

    directory = Path(state_dir).absolute()
    directory.mkdir(parents=True, exist_ok=True)
    with _lock(directory):
        present = read_instance(directory / STATE_FILE_NAME)
        if present is not None:
            if is_running(present):
                raise serr.Retry(str(directory), "the instance runs: stop it first")
            _end_leftovers(directory, present)
        return restore(Path(file), directory)


@contextlib.contextmanager
def _lock(directory: Path) -> Iterator[None]:
    """One start or stop at a time per state directory; Retry if another one is at work."""
    with (directory / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise serr.Retry(str(directory), "another start or stop is at work") from error
        yield


def _launch(directory: Path, request: BootRequest, on_line: Callable[[str], None]) -> None:
    logs = directory / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    reading, writing = os.pipe()
    command = [sys.executable, "-m", "kernel.boot", msgspec.json.encode(request).decode(), str(writing)]
    daemon: subprocess.Popen[bytes] | None = None
    try:
        with os.fdopen(reading, "rb") as reports:
            with (logs / "boot.log").open("ab") as output, _interrupts_deferred():
                daemon = subprocess.Popen(
                    command,
                    env=os.environ | {MARK: str(directory)},
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    pass_fds=(writing,),
                    start_new_session=True,
                )
            os.close(writing)
            _follow(reports, on_line, logs)
    except BaseException:  # Ctrl-C as well: a daemon that nobody follows must not stay
        if daemon is not None:
            _end_daemon(daemon)
            left = read_instance(directory / STATE_FILE_NAME)
            if left is not None:
                _end_leftovers(directory, left)
        raise
    daemon.returncode = 0  # it outlives this object, on purpose: who stops the instance waits for it


@contextlib.contextmanager
def _interrupts_deferred() -> Iterator[None]:
    """Ctrl-C within the block counts at its end: in the middle of Popen it would leave a process that nobody knows."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    ours = [number for number in numbers if signal.getsignal(number) is signal.default_int_handler]
    if not ours or threading.current_thread() is not threading.main_thread():
        yield
        return
    arrived: list[int] = []
    for number in ours:
        signal.signal(number, lambda number, _frame: arrived.append(number))
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.default_int_handler)
    if arrived:
        raise KeyboardInterrupt


def _follow(reports: Iterator[bytes], on_line: Callable[[str], None], logs: Path) -> None:
    for line in reports:
        report = decode_report(line)
        if report.failed:
            raise serr.Error("start", report.failed)
        if report.ready:
            return
        on_line(report.line)
    raise serr.Error("start", f"boot ended without a word; see {logs / 'boot.log'}")


def _end_daemon(daemon: subprocess.Popen[bytes]) -> None:
    """After a start that failed or was interrupted: the daemon takes down what it started."""
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        if daemon.poll() is None:
            daemon.terminate()
        try:
            daemon.wait(LOCAL.boot.stop_timeout_s)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()
    finally:
        signal.signal(signal.SIGINT, previous)


def stop_instance(state_dir: str | os.PathLike[str]) -> bool:
    """Stops the instance of a state directory and blocks until all of it is gone, also what a crashed one left; False
    if there was none. May be repeated. What etcd and ux keep stays for the next start. NotSupported on a machine other
    than that of its boot process, as long as it serves there."""
    directory = Path(state_dir).absolute()
    instance = read_instance(directory / STATE_FILE_NAME)
    if instance is None:
        return False
    with _lock(directory):
        _refuse_if_elsewhere(instance, directory / STATE_FILE_NAME)
        if is_running(instance):
            _ask_to_stop(instance)
        _end_leftovers(directory, instance)
    return True


def _ask_to_stop(instance: Instance) -> None:
    boot = instance.boot
    boot.send(signal.SIGTERM)
    deadline_s = time.monotonic() + LOCAL.boot.stop_timeout_s
    while boot.is_alive():
        if time.monotonic() > deadline_s:
            boot.send(signal.SIGKILL)
            return
        time.sleep(LOCAL.boot.look_again_s)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(boot.pid, os.WNOHANG)  # of a child of ours, as in tests, something stays until then


def _refuse_if_elsewhere(instance: Instance, file: Path) -> None:
    """NotSupported for an instance that serves on another machine: its processes are not for this one to end, and its
    state is not for two to write."""
    if instance.boot.is_here or instance.has_crashed():
        return
    if any(_answers(address) for address in instance.named.addrs):
        reason = f"the instance of {file} runs on {instance.boot_host_name or 'another machine'}: stop it there"
        raise serr.NotSupported(str(file.parent), reason)


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    if host == LOOPBACK:
        return False  # another machine's own: what answers here is something else
    try:
        socket.create_connection((host, int(port)), LOCAL.session.dial_timeout_s).close()
    except OSError:
        return False
    return True


def _end_leftovers(directory: Path, instance: Instance) -> None:
    """Ends what outlived the boot process on this machine, and forgets the instance. What it had on others ends with
    Ray, or with boot's connection to it."""
    services = [
        ChildProcess(name=name, pid=info.pid, machine=info.machine, started_ticks=info.started_ticks)
        for node in instance.kernel_nodes
        for name, info in node.services.items()
    ]
    boot = instance.boot
    daemon = ChildProcess(name="boot", pid=boot.pid, machine=boot.machine, started_ticks=boot.started_ticks)
    end_recorded([*instance.children, daemon, *services], LOCAL.boot.part_stop_timeout_s)
    if instance.ray_temp_dir:
        end_session(instance.ray_temp_dir)
    with contextlib.suppress(FileNotFoundError):
        (directory / STATE_FILE_NAME).unlink()

"""The processes of an own Ray, seen from outside of Ray: found, watched, ended. Imports no Ray."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
from typing import TYPE_CHECKING, Final

import psutil

from sigmaos_ray import config

if TYPE_CHECKING:
    from collections.abc import Sequence

_CORE: Final = frozenset({"gcs_server", "raylet"})
_RAYS_OWN: Final = f"{os.sep}ray{os.sep}"
"""In the paths of Ray's programs, which lie in its package."""


def core_processes() -> list[psutil.Process]:
    """The children of this process without which its Ray is none."""
    processes = []
    for process in psutil.Process().children():
        with contextlib.suppress(psutil.Error):
            if process.name() in _CORE:
                processes.append(process)
    return processes


def processes_of(directory: str) -> list[psutil.Process]:
    """What lives of the session of that directory, except for this very process."""
    return [process for process in psutil.process_iter() if process.pid != os.getpid() and _is_of(process, directory)]


def _is_of(process: psutil.Process, directory: str) -> bool:
    """True for a process of Ray's own that has a file of the session open or in its command line. Every one has its
    log, or Ray's; agents and workers outlive a raylet that is killed, under titles that tell nothing and that
    overwrite the environment. A user's driver has such files open, too, but is not Ray's own."""
    descriptors = f"/proc/{process.pid}/fd"
    try:
        command = process.cmdline()
        if not any(part.startswith("ray::") or _RAYS_OWN in part for part in command):
            return False
        if any(directory in part for part in command):
            return True
        return any(_link(f"{descriptors}/{name}").startswith(f"{directory}/") for name in os.listdir(descriptors))
    except (psutil.Error, OSError):  # gone meanwhile, or somebody else's
        return False


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:  # closed meanwhile
        return ""


def end_session(directory: str) -> None:
    """Ends what lives of a session and removes its directory. May be repeated."""
    processes = processes_of(directory)
    for send in ("terminate", "kill"):
        for process in processes:
            with contextlib.suppress(psutil.Error):
                getattr(process, send)()
        _, processes = psutil.wait_procs(processes, timeout=config.current().boot.ray_end_grace_s)
    shutil.rmtree(directory, ignore_errors=True)


async def wait_any_end(processes: Sequence[psutil.Process]) -> str:
    """Returns the name of the first process that ends."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[str] = loop.create_future()
    watched: list[int] = []

    def on_end(name: str) -> None:
        if not ended.done():
            ended.set_result(name)

    try:
        for process in processes:
            try:
                descriptor, name = os.pidfd_open(process.pid), process.name()
            except (OSError, psutil.Error):
                return "a process of it"
            watched.append(descriptor)
            loop.add_reader(descriptor, on_end, name)
        return await ended
    finally:
        for descriptor in watched:
            loop.remove_reader(descriptor)
            os.close(descriptor)


async def wait_unreachable(address: str) -> str:
    """Returns once the Ray of that address has not answered for some seconds in a row."""
    host, _, port = address.rpartition(":")
    misses, limits = 0, config.current().boot
    while misses < limits.ray_misses_max:
        await asyncio.sleep(limits.ray_poll_s)
        misses = 0 if await asyncio.to_thread(_accepts, host, int(port)) else misses + 1
    return "gcs_server"


def _accepts(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=1):
            return True
    except OSError:
        return False

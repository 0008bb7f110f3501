"""The processes of an own Ray, seen from outside of Ray: found, watched, ended. Imports no Ray."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import time
from typing import TYPE_CHECKING, Final

import psutil

from kernel.boot.children import end_processes
from sigmaos_ray import config
from sigmaos_ray.machine import OsProcess

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_CORE: Final = frozenset({"gcs_server", "raylet"})
_RAYS_OWN: Final = f"{os.sep}ray{os.sep}"
"""In the paths of Ray's programs, which lie in its package."""


def core_processes() -> dict[str, OsProcess]:
    """The children of this process without which its Ray is none, by name."""
    processes = {}
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error):
            if child.name() in _CORE and (process := OsProcess.of(child.pid)) is not None:
                processes[child.name()] = process
    return processes


def processes_of(directory: str) -> list[OsProcess]:
    """What lives of the session of that directory, except for this very process."""
    # Each is known by its start before it is looked at: what is found of one number is found of one process.
    seen = [process for pid in psutil.pids() if pid != os.getpid() and (process := OsProcess.of(pid)) is not None]
    return [process for process in seen if _is_of(process.pid, directory) and process.is_alive()]


def _is_of(pid: int, directory: str) -> bool:
    """True for a process of Ray's own that has a file of the session open or in its command line. Every one has its
    log, or Ray's; agents and workers outlive a raylet that is killed, under titles that tell nothing and that
    overwrite the environment. A user's driver has such files open, too, but is not Ray's own."""
    descriptors = f"/proc/{pid}/fd"
    try:
        command = psutil.Process(pid).cmdline()
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
    limits = config.current().boot
    deadline_s = time.monotonic() + limits.ray_remove_timeout_s
    while True:
        end_processes(processes_of(directory), limits.ray_end_grace_s)
        shutil.rmtree(directory, ignore_errors=True)
        if not os.path.lexists(directory) or time.monotonic() > deadline_s:
            return
        # One that started after the look, or that takes long to die, wrote there meanwhile.
        time.sleep(limits.look_again_s)


async def wait_any_end(processes: Mapping[str, OsProcess]) -> str:
    """Returns the name of the first process that ends."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[str] = loop.create_future()
    watched: list[int] = []

    def on_end(name: str) -> None:
        if not ended.done():
            ended.set_result(name)

    try:
        for name, process in processes.items():
            descriptor = process.open()
            if descriptor is None:
                return name
            watched.append(descriptor)
            loop.add_reader(descriptor, on_end, name)
        return await ended
    finally:
        for descriptor in watched:
            loop.remove_reader(descriptor)
            os.close(descriptor)


async def wait_unreachable(addresses: Sequence[str]) -> str:
    """Returns once one of these addresses takes no connection, several times in a row: at once after the end of who
    listened there, otherwise after some seconds. Which it was."""
    watches = [asyncio.create_task(_watch(address), name=f"watch-{address}") for address in addresses]
    try:
        done, _ = await asyncio.wait(watches, return_when=asyncio.FIRST_COMPLETED)
        return done.pop().result()
    finally:
        for watch in watches:
            watch.cancel()
        await asyncio.wait(watches)


async def _watch(address: str) -> str:
    limits = config.current().boot
    misses = 0
    while misses < limits.ray_misses_max:
        # It stays open until the other side ends or closes it, or for a while: a host that is cut off says nothing.
        held = await _held(address, limits.ray_poll_s)
        misses = 0 if held else misses + 1
        if not held:
            await asyncio.sleep(limits.ray_pause_s)
    return address


async def _held(address: str, while_s: float) -> bool:
    """Whether it takes a connection; then keeps that for a while, if the other side does."""
    host, _, port = address.rpartition(":")
    silence_s = config.current().boot.ray_silence_s
    try:
        reader, writer = await asyncio.wait_for(asyncio.open_connection(host, int(port)), silence_s)
    except OSError:  # a timeout is one, too
        return False
    try:
        with contextlib.suppress(TimeoutError):
            # gRPC servers speak first: until there is nothing more.
            await asyncio.wait_for(reader.read(), while_s)
    except OSError:
        return True  # it broke: the next one tells what that means
    finally:
        writer.close()
    return True

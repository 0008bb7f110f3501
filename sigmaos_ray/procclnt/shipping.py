"""Folders of programs on their way to workers that lack them: which proc needs one, and what schedds have (X-35).

The folder goes to a schedd once for each of its states, as a package; the proc then names it. Procs within a package
hand it on to their children.
"""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING, Protocol

from sigmaos_ray import machine
from sigmaos_ray.proc.folder import VARIABLE, ProgramFolder
from sigmaos_ray.proc.names import module_names
from sigmaos_ray.sigmap.text import escaped

if TYPE_CHECKING:
    from sigmaos_ray.config import ProcEnv, Procs
    from sigmaos_ray.proc import Proc


class Schedds(Protocol):
    """What schedds are asked."""

    async def wants_package(self, kernel: str, folder: str, machine_id: str) -> bool:
        """Whether procs of a folder need it shipped there: its workers may be on other machines."""

    async def put_package(self, kernel: str, data: bytes) -> str:
        """Returns the name of a package once procs can use it."""


class Shipping:
    """Of one client. Used from its loop."""

    def __init__(self, schedds: Schedds, env: ProcEnv, limits: Procs) -> None:
        self._schedds = schedds
        self._env = env
        self._limits = limits
        self._folders: dict[tuple[str, str], ProgramFolder | None] = {}
        """By what names one, and the working directory."""
        self._wanted: dict[tuple[str, str], tuple[bool, float]] = {}
        """Whether a schedd wants a folder, and until when that counts."""
        self._put: dict[tuple[str, str], asyncio.Task[str]] = {}
        """By schedd and package: what it has, or is about to."""

    async def package_for(self, proc: Proc, kernel: str) -> str:
        """The package that a proc needs at a schedd, which has it then; empty if it needs none."""
        if self._env.package:
            return self._env.package
        folder = self._folder_of(proc)
        if folder is None or not await self._is_wanted(kernel, folder):
            return ""
        package = await asyncio.to_thread(folder.package)
        key = kernel, package.name
        # Several procs of one folder are often spawned at once: the first one's package is all that goes.
        put = self._put.get(key)
        if put is None or (put.done() and (put.cancelled() or put.exception())):
            put = asyncio.create_task(self._schedds.put_package(kernel, package.data), name="put-package")
            self._put[key] = put
        return await asyncio.shield(put)

    def known_package_for(self, proc: Proc, kernel: str) -> str | None:
        """As ``package_for``, as far as is known without asking; None: it is to be asked. In any thread."""
        if self._env.package:
            return self._env.package
        folder = self._folder_of(proc)
        if folder is None:
            return ""
        wanted, until_s = self._wanted.get((kernel, str(folder.path)), (True, 0.0))
        return None if wanted or time.monotonic() > until_s else ""

    def forget(self, kernel: str) -> None:
        """The schedd has a package no more: it was started anew, or had to make room."""
        for key in [key for key, put in self._put.items() if key[0] == kernel and put.done()]:
            del self._put[key]

    def _folder_of(self, proc: Proc) -> ProgramFolder | None:
        """The folder that a proc needs. A proc that was not shipped has none of its own, unless it names one."""
        if "/" in proc.program:  # an executable, by its pathname
            return None
        present = self._present_folder()
        if present is None:
            return None
        if proc.pickled and not proc.source and not present.is_asked_for:
            return None
        if not present.holds(module_names(proc.program), proc.source):
            return None
        return present

    def _present_folder(self) -> ProgramFolder | None:
        asked_for = os.environ.get(VARIABLE, "")
        if self._env.schedd_id and not asked_for:
            return None
        try:
            key = asked_for, os.getcwd()
        except FileNotFoundError:  # somebody removed it
            return None
        if key not in self._folders:
            self._folders[key] = ProgramFolder.present()
        return self._folders[key]

    async def _is_wanted(self, kernel: str, folder: ProgramFolder) -> bool:
        key = kernel, str(folder.path)
        wanted, until_s = self._wanted.get(key, (False, 0.0))
        if time.monotonic() > until_s:
            wanted = await self._schedds.wants_package(kernel, escaped(str(folder.path)), _machine())
            self._wanted[key] = wanted, time.monotonic() + self._limits.package_wanted_s
        return wanted

    async def close(self) -> None:
        """Gives up what is under way."""
        putting = [put for put in self._put.values() if not put.done()]
        for put in putting:
            put.cancel()
        if putting:
            await asyncio.wait(putting)


def _machine() -> str:
    try:
        return machine.machine()
    except OSError:  # not Linux: none of the instance's
        return ""

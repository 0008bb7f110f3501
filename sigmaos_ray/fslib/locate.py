"""Finding a realm's named (N-6). Clients never ask etcd: boot writes the leader's endpoint into the state file, and
procs on nodes without that file ask through a hook that their runner installs."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import msgspec

from sigmaos_ray import config, debug, serr
from sigmaos_ray.sigmap import Endpoint

if TYPE_CHECKING:
    from collections.abc import Callable

    from sigmaos_ray.config import ProcEnv

_log = debug.selector("MOUNT")

_hook: Callable[[], Endpoint | None] | None = None


def install_hook(hook: Callable[[], Endpoint | None] | None) -> None:
    """How this process asks for named where no state file can be read; called in a thread, may block. None: nobody."""
    global _hook
    _hook = hook


class NamedLocator:
    """Where named is, as far as this client knows. The first answer may be old; ``refresh`` looks again."""

    def __init__(self, proc_env: ProcEnv) -> None:
        self._proc_env = proc_env
        self._known = proc_env.named

    async def current(self) -> Endpoint:
        """Unreachable if nothing says where named is."""
        if not self._known.addrs:
            await self.refresh()
        if not self._known.addrs:
            raise serr.Unreachable("name", "no running instance: start one with `sigmaos start`")
        return self._known

    async def refresh(self) -> None:
        """Looks again, after named did not answer where it was thought to be."""
        found = self._from_state_file() or self._from_environment()
        if found is None and _hook is not None:
            found = await asyncio.to_thread(_hook)
        if found is not None and found.addrs:
            if found != self._known:
                _log(f"named is at {found.addrs}")
            self._known = found

    def _from_state_file(self) -> Endpoint | None:
        if not self._proc_env.state_file:
            return None
        try:
            instance = config.read_instance(self._proc_env.state_file)
        except (OSError, msgspec.DecodeError) as error:
            _log(f"state file {self._proc_env.state_file}: {error}")
            return None
        return instance.named if instance is not None and instance.named.addrs else None

    @staticmethod
    def _from_environment() -> Endpoint | None:
        addresses = os.environ.get("SIGMAOS_NAMED", "")
        return Endpoint(addrs=tuple(addresses.split(","))) if addresses else None

"""Finding a realm's named (N-6). Clients never ask etcd: boot writes the leader's endpoint into the state file, and
procs on nodes without that file ask through a hook that their runner installs."""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING, TypeVar

import msgspec

from sigmaos_ray import config, debug, serr
from sigmaos_ray.instance import NO_INSTANCE, named_addresses, read_instance

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from sigmaos_ray.config import Locating, ProcEnv
    from sigmaos_ray.sigmap import Endpoint

T = TypeVar("T")

_log = debug.selector("MOUNT")

_hook: Callable[[], Endpoint | None] | None = None


def install_hook(hook: Callable[[], Endpoint | None] | None) -> None:
    """How this process asks for named where no state file can be read; called in a thread, may block. None: nobody."""
    global _hook
    _hook = hook


class NamedLocator:
    """Where named is, as far as this client knows. The first answer may be old; ``refresh`` looks again."""

    def __init__(self, proc_env: ProcEnv, limits: Locating | None = None) -> None:
        self._proc_env = proc_env
        self._limits = limits or config.current().locating
        self._last_seen = proc_env.named
        self._is_told = False
        """Whether ``_last_seen`` is what the instance says now, the leader first, and no guess."""
        self._heard: tuple[str, ...] = ()
        """What named itself said of the addresses of all, its own first."""
        self._asking: asyncio.Task[Endpoint | None] | None = None
        self._hook_call_s = 0.0
        self._read: tuple[int, int] | None = None
        """Which state file was read last: boot replaces it by another with each change."""
        self._read_s = 0.0

    @property
    def last_seen(self) -> Endpoint:
        """Where named was when it was last heard of; without addresses: never."""
        return self._last_seen

    async def current(self) -> Endpoint:
        """Unreachable if nothing says where named is."""
        if not self._last_seen.addrs:
            await self.refresh()
        if not self._last_seen.addrs:
            raise serr.Unreachable("name", NO_INSTANCE)
        return self._last_seen

    async def refresh(self) -> None:
        """Looks again, after named did not answer where it was thought to be."""
        endpoint = self._from_state_file()
        self._is_told = endpoint is not None
        if endpoint is None and (endpoint := named_addresses()) is not None:
            endpoint = self._with_heard(endpoint)
        if endpoint is None and _hook is not None:
            endpoint = await self._ask(_hook)
            self._is_told = endpoint is not None and bool(endpoint.addrs)
        # Nobody leads for now: the last one is as good a guess as none, and dialling it tells.
        if endpoint is not None and endpoint.addrs:
            if endpoint != self._last_seen:
                _log(f"named is at {endpoint.addrs}")
            self._last_seen = endpoint

    def heard(self, endpoint: Endpoint) -> None:
        """A named that leads answered there, and told of those who stand by: they are asked, too, from now on, where
        the instance does not say who leads."""
        self._heard = endpoint.addrs
        if not self._is_told:
            self._last_seen = endpoint

    def _with_heard(self, configured: Endpoint) -> Endpoint:
        return msgspec.structs.replace(configured, addrs=tuple(dict.fromkeys((*configured.addrs, *self._heard))))

    async def _ask(self, hook: Callable[[], Endpoint | None]) -> Endpoint | None:
        """What the hook says; None if it takes long: Ray's control store may be gone, which it waits for."""
        if self._asking is None or self._asking.done():
            self._hook_call_s = time.monotonic()
            self._asking = asyncio.create_task(asyncio.to_thread(hook), name="named-hook")
        await asyncio.wait({self._asking}, timeout=self._limits.hook_timeout_s)
        return self._asking.result() if self._asking.done() else None

    @property
    def is_told(self) -> bool:
        """Whether the instance itself said where named is when that was last looked for: there is no need to guess."""
        return self._is_told

    async def has_moved(self, endpoint: Endpoint) -> bool:
        """Looks again; True if the instance says that the leader is not the first of ``endpoint``. Cheap enough to be
        asked all the time."""
        # One stat, most of the time: boot replaces the file by another with each change, and it is read only then.
        present = self._state_file()
        if present is not None:
            if present != self._read or time.monotonic() - self._read_s > self._limits.file_pause_s:
                await self.refresh()
        elif _hook is None or time.monotonic() - self._hook_call_s > self._limits.hook_pause_s:
            await self.refresh()
        return self._is_told and self._last_seen.addrs[:1] != endpoint.addrs[:1]

    async def while_there(self, endpoint: Endpoint, dialling: Coroutine[Any, Any, T]) -> T:
        """What ``dialling`` returns or raises. Unreachable as soon as named is known to be elsewhere: a leader that
        was stopped takes connections and never answers."""
        task = asyncio.create_task(dialling, name="named-dial")
        # Looked at, however it ends: who waits may have been cancelled.
        task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        try:
            while not (await asyncio.wait({task}, timeout=self._limits.dial_poll_s))[0]:
                if await self.has_moved(endpoint):
                    raise serr.Unreachable("name", "another process leads")
            return task.result()
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait({task})

    async def close(self) -> None:
        """Waits for nobody's answer any more. May be repeated."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait({self._asking})
            self._asking = None

    def _state_file(self) -> tuple[int, int] | None:
        try:
            status = os.stat(self._proc_env.state_file)
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns

    def _from_state_file(self) -> Endpoint | None:
        if not self._proc_env.state_file:
            return None
        # Looked at before it is read: a file that is replaced in between then differs the next time.
        self._read, self._read_s = self._state_file(), time.monotonic()
        try:
            instance = read_instance(self._proc_env.state_file)
        except (OSError, msgspec.DecodeError) as error:
            _log(f"state file {self._proc_env.state_file}: {error}")
            return None
        named = instance.named_of(self._proc_env.realm) if instance is not None else None
        return named if named is not None and named.addrs else None

"""Who leads a realm's named (D-6, L-30): the candidate whose key below ``election/`` is the oldest, for as long as the
lease that it hangs on lives.

The leader knows until when its lease surely lives: the time-to-live from the moment at which the last extension was
*sent*. Past that it answers nothing, so that a process that was stopped serves no stale read.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from typing import TYPE_CHECKING, Final

import msgspec
import psutil

from kernel.named import etcd as etcd_module
from kernel.named.committer import LeaderKey
from kernel.named.etcd import Compacted, Etcd, KeyValue, UnknownOutcome
from kernel.named.keys import Keys
from sigmaos_ray import config as configuration
from sigmaos_ray import debug, serr
from sigmaos_ray.sigmap import Endpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_log = debug.selector("NAMED_LDR")

_LOOK_AGAIN_S: Final = 1.0
"""How often a candidate looks whether the leader's process is still there."""
_EXTEND_AGAIN_S: Final = 0.2
"""After an extension that failed."""
_CLOCK_SLACK_S: Final = 2.0
"""The kernel tells its boot time in whole seconds, and corrects it by one at times."""


class Candidate(msgspec.Struct, frozen=True):
    """What a candidate says of itself in its election key."""

    kernel_id: str
    endpoint: Endpoint
    host: str
    os_pid: int
    os_started_s: float
    """When the process started, in seconds since the machine did: no change of the clock moves it."""

    @classmethod
    def here(cls, kernel_id: str, endpoint: Endpoint) -> Candidate:
        return cls(kernel_id, endpoint, socket.gethostname(), os.getpid(), _started_s(psutil.Process()))

    def is_certainly_gone(self) -> bool:
        """True if it ran on this host, and its process does not exist any more, or waits to be collected."""
        if self.host != socket.gethostname():
            return False
        try:
            process = psutil.Process(self.os_pid)
            is_other = abs(_started_s(process) - self.os_started_s) > _CLOCK_SLACK_S
            return is_other or process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
        except psutil.NoSuchProcess:
            return True
        except psutil.Error:
            return False


def _started_s(process: psutil.Process) -> float:
    return process.create_time() - psutil.boot_time()


def _now_s() -> float:
    """A clock that goes on while the machine sleeps and while this process is stopped."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Election:
    """One candidacy: ``campaign`` until it leads, then keep the lease; ``resign`` ends it either way."""

    def __init__(self, etcd: Etcd, keys: Keys, ttl_s: int, on_lost: Callable[[str], None]) -> None:
        self._etcd = etcd
        self._keys = keys
        self._ttl_s = ttl_s
        self._on_lost = on_lost
        self._lease = 0
        self._leads_until_s = 0.0
        self._keeper: asyncio.Task[None] | None = None
        self._leads = False

    @property
    def lease(self) -> int:
        """The etcd lease of the candidacy."""
        return self._lease

    def guard(self) -> None:
        """Closed unless this process surely leads now; once it does not, it never does again."""
        if self._leads and _now_s() >= self._leads_until_s:
            self.lose("the lease was not extended in time")
        if not self._leads:
            raise serr.Closed("named", "srv expired")

    async def campaign(self, candidate: Candidate) -> LeaderKey:
        """Blocks until this process leads. Closed if its lease ends before; Unreachable without etcd."""
        sent_s = _now_s()
        self._lease, granted_s = await self._etcd.grant(self._ttl_s)
        self._leads_until_s = sent_s + granted_s
        self._keeper = asyncio.create_task(self._keep(granted_s), name="named-lease")
        key = self._keys.election + f"{self._lease:016x}".encode()
        await self._put(key, candidate)
        while True:
            oldest = await self._etcd.oldest(self._keys.election)
            if oldest is None or self._keeper.done():
                raise serr.Closed("named", "the candidacy's lease is gone")
            if oldest.key == key:
                break
            await self._wait_for(oldest)
        self._leads = True
        _log(f"leads, epoch {oldest.create_revision}")
        return LeaderKey(key, oldest.create_revision)

    async def _put(self, key: bytes, candidate: Candidate) -> None:
        value = msgspec.json.encode(candidate)
        try:
            await self._etcd.transaction([], [etcd_module.put(key, value, self._lease)])
        except UnknownOutcome as error:
            raise serr.Unreachable("etcd", f"candidacy: {error}") from error

    async def _wait_for(self, predecessor: KeyValue) -> None:
        """Until the predecessor's key is gone; at once if its process is."""
        candidate = _decode(predecessor.value)
        if candidate is not None and candidate.is_certainly_gone():
            _log(f"the predecessor's process {candidate.os_pid} is gone: its lease ends now")
            try:
                await self._etcd.revoke(predecessor.lease)
            except serr.NotFound:
                return
            return
        _log("waits for the present leader")
        gone = self._etcd.wait_deleted(predecessor.key, predecessor.mod_revision)
        # In turns: the process may die while its lease lives on.
        with contextlib.suppress(TimeoutError, Compacted):
            await asyncio.wait_for(gone, _LOOK_AGAIN_S)

    async def _keep(self, granted_s: float) -> None:
        """Extends the lease each third of its time, until it is lost."""
        pause_s = granted_s / 3
        while True:
            await asyncio.sleep(pause_s)
            sent_s = _now_s()
            try:
                self._leads_until_s = sent_s + await self._etcd.extend(self._lease)
                pause_s = granted_s / 3
            except serr.NotFound:
                self.lose("the lease is gone")
                return
            except serr.SigmaError as error:
                _log(f"extend: {error}")
                pause_s = _EXTEND_AGAIN_S
                if _now_s() >= self._leads_until_s:
                    self.lose("etcd did not answer in time")
                    return

    def lose(self, why: str) -> None:
        """The leadership is over, or in doubt: nothing is answered any more, and the lease runs out."""
        was_leading, self._leads = self._leads, False
        if self._keeper is not None and self._keeper is not asyncio.current_task():
            self._keeper.cancel()
        if was_leading:
            self._on_lost(why)

    async def resign(self) -> None:
        """Gives up the leadership at once, if etcd answers; else its lease runs out. May be repeated."""
        self._leads = False
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait({self._keeper})
            self._keeper = None
        if self._lease:
            lease, self._lease = self._lease, 0
            try:
                await self._etcd.revoke(lease)
            except serr.SigmaError as error:
                _log(f"resign: {error}")


def _decode(value: bytes) -> Candidate | None:
    try:
        return msgspec.json.decode(value, type=Candidate)
    except msgspec.DecodeError:
        return None


async def read_leader(etcd_endpoints: Sequence[str], realm: str) -> Endpoint | None:
    """Where the leader of a realm's named answers, as etcd says; None if nobody leads. Unreachable without etcd."""
    etcd = Etcd(etcd_endpoints, configuration.current().named.etcd_timeout_s)
    try:
        oldest = await etcd.oldest(Keys(realm).election)
    finally:
        await etcd.close()
    candidate = _decode(oldest.value) if oldest is not None else None
    return candidate.endpoint if candidate is not None else None

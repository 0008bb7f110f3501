"""Who leads a realm's named (D-6, L-30): the candidate whose key below ``election/`` is the oldest, for as long as the
lease that it hangs on lives.

The leader knows until when its lease surely lives: the time-to-live from the moment at which the last extension was
*sent*. Past that it answers nothing, so that a process that was stopped serves no stale read.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from typing import TYPE_CHECKING, Final

import msgspec

from kernel.named import etcd as etcd_module
from kernel.named.committer import LeaderKey
from kernel.named.etcd import Compacted, Etcd, KeyValue, UnknownOutcome
from kernel.named.keys import Keys
from sigmaos_ray import config as configuration
from sigmaos_ray import debug, decoding, serr
from sigmaos_ray.machine import OsProcess
from sigmaos_ray.sigmap import Endpoint

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
    from typing import Any

_log = debug.selector("NAMED_LDR")


class Candidate(msgspec.Struct, frozen=True):
    """What a candidate says of itself in its election key."""

    kernel_id: str
    endpoint: Endpoint
    process: OsProcess
    serves: bool = False
    """It leads, has the tree, and answers."""

    @classmethod
    def here(cls, kernel_id: str, endpoint: Endpoint) -> Candidate:
        return cls(kernel_id, endpoint, OsProcess.own())

    async def wait_gone(self) -> None:
        """Returns once its process has certainly ended; never, if nobody can tell from here."""
        descriptor = self.process.open()
        if descriptor is None and self.process.is_gone():
            return
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[None] = loop.create_future()
        if descriptor is None:
            await ended  # for ever: the key's end is waited for beside this
            return
        loop.add_reader(descriptor, lambda: None if ended.done() else ended.set_result(None))
        try:
            await ended
        finally:
            loop.remove_reader(descriptor)
            os.close(descriptor)


_decode_candidate: Final = decoding.json_decoder(Candidate)


def _now_s() -> float:
    """A clock that goes on while the machine sleeps and while this process is stopped: leases run out meanwhile."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Election:
    """One candidacy: ``stand``, ``win``, ``announce`` that the service is ready; ``resign`` ends it at any point."""

    def __init__(self, etcd: Etcd, keys: Keys, ttl_s: int, on_lost: Callable[[str], None]) -> None:
        self._etcd = etcd
        self._keys = keys
        self._ttl_s = ttl_s
        self._on_lost = on_lost
        self._lease = 0
        self._candidate: Candidate | None = None
        self._leads_until_s = 0.0
        self._before_us: Candidate | None = None
        """Who leads, or is about to, as far as this one knows, which stands behind it."""
        self._keeper: asyncio.Task[None] | None = None
        self._leads = False
        self._serves = False
        self._served = False

    @property
    def lease(self) -> int:
        """The etcd lease of the candidacy."""
        return self._lease

    @property
    def _key(self) -> bytes:
        return self._keys.election + f"{self._lease:016x}".encode()

    def guard(self) -> None:
        """NotLeading unless this process surely leads now; once it does not, it never does again."""
        if self._leads and _now_s() >= self._leads_until_s:
            self.lose("the lease was not extended in time")
        if not self._leads:
            raise serr.NotLeading("named")

    def guard_service(self) -> None:
        """NotLeading unless this process surely leads now, and serves."""
        if not self._serves:
            why = "srv expired" if self._served else "srv not elected"
            raise serr.NotLeading("named", why, self._before_us.endpoint.addrs if self._before_us else ())
        self.guard()

    async def stand(self, candidate: Candidate) -> None:
        """Enters the election, behind those that stand already. Unreachable without etcd."""
        self._candidate = candidate
        await self._enter(candidate)

    async def _enter(self, candidate: Candidate) -> None:
        # Before the call: etcd counts from some moment after it, so what we believe ends first.
        sent_s = _now_s()
        self._lease, granted_s = await self._etcd.grant(self._ttl_s)
        self._leads_until_s = sent_s + granted_s
        self._keeper = asyncio.create_task(self._keep(granted_s), name="named-lease")
        try:
            await self._etcd.transaction([], [self._put(candidate)])
        except (UnknownOutcome, serr.SigmaError) as error:
            # If the key stands all the same it goes with the lease, which `resign` revokes, or which runs out.
            self._keeper.cancel()
            raise serr.Unreachable("etcd", f"candidacy: {error}") from error

    def _put(self, candidate: Candidate) -> Any:
        return etcd_module.put(self._key, msgspec.json.encode(candidate), self._lease)

    async def win(self) -> LeaderKey:
        """Blocks until this process leads. Who stands by promised nobody anything: if its lease ends before, it stands
        again, behind the others. Closed once it resigned."""
        while True:
            oldest = await self._oldest()
            if self._keeper is None:
                raise serr.Closed("named", "resigned")
            # Looked at after each answer: if the lease went meanwhile, a key of ours that is the oldest is history.
            if self._keeper.done():
                await self._stand_again()
            elif oldest is not None and oldest.key != self._key:
                await self._wait_for(oldest, self._keeper)
            elif oldest is not None and _now_s() < self._leads_until_s:
                self._before_us = None
                break
            else:  # also while etcd has not said yet that our lease lives on
                await asyncio.sleep(configuration.current().named.etcd_pause_s)
        self._leads = True
        self.guard()  # this process may have been stopped since etcd answered
        _log(f"leads, epoch {oldest.create_revision}")
        return LeaderKey(oldest.key, oldest.create_revision)

    async def _oldest(self) -> KeyValue | None:
        """None as well while etcd does not answer."""
        try:
            return await self._etcd.oldest(self._keys.election)
        except serr.Unreachable as error:
            _log(f"campaign: {error}")
            return None

    async def _stand_again(self) -> None:
        """In a host that was cut off for longer than a lease lives, nobody may be left who would start another one."""
        assert self._candidate is not None, "not stood"
        try:
            await self._enter(self._candidate)
            _log("the candidacy's lease was gone: stands again")
        except serr.SigmaError as error:
            _log(f"stand again: {error}")
            await asyncio.sleep(configuration.current().named.etcd_pause_s)

    async def announce(self, leader: LeaderKey) -> None:
        """From now on requests are answered, and everybody may know. Closed if the leadership is lost meanwhile."""
        assert self._candidate is not None, "not stood"
        serving = msgspec.structs.replace(self._candidate, serves=True)
        # Before it stands in etcd: who reads there that we serve must not be refused.
        self._serves = self._served = True
        while True:
            self.guard()
            try:
                compare = [etcd_module.is_created_at(leader.key, leader.create_revision)]
                still_leads, _ = await self._etcd.transaction(compare, [self._put(serving)])
            except UnknownOutcome as error:  # putting it twice does no harm
                _log(f"announce: {error}")
                await asyncio.sleep(configuration.current().named.etcd_pause_s)
                continue
            if not still_leads:
                self.lose("the election key is gone")
                self.guard()
            return

    async def _wait_for(self, predecessor: KeyValue, keeper: asyncio.Task[None]) -> None:
        """Until the predecessor's key is gone, at once if its process is; or until our own lease is."""
        _log("waits for the present leader")
        candidate = self._before_us = _decode(predecessor.value)
        key_gone = self._wait_deleted(predecessor)
        process_gone = candidate.wait_gone() if candidate is not None else _never()
        if await _first_of(keeper, key_gone, process_gone) == 1:
            # Without this everybody would wait until the lease runs out. Only from the same machine can a process that
            # is gone be told from one that is slow or cut off, which may still answer reads.
            _log("the predecessor's process is gone: its lease ends now")
            try:
                await self._etcd.revoke(predecessor.lease)
            except serr.SigmaError as error:  # gone already, or etcd does not answer: looked at again
                _log(f"revoke: {error}")

    async def _wait_deleted(self, predecessor: KeyValue) -> None:
        with contextlib.suppress(Compacted):
            await self._etcd.wait_deleted(predecessor.key, predecessor.mod_revision)

    async def _keep(self, granted_s: float) -> None:
        """Extends the lease each third of its time, until it is lost."""
        pause_s = granted_s / 3
        while True:
            await asyncio.sleep(pause_s)
            try:
                await self._extend()
                pause_s = granted_s / 3
            except serr.NotFound:
                self.lose("the lease is gone")
                return
            except serr.SigmaError as error:
                _log(f"extend: {error}")
                # More often than a third: the rest of the lease is all the time that is left for etcd to come back.
                pause_s = configuration.current().named.extend_pause_s
                if self._leads and _now_s() >= self._leads_until_s:
                    self.lose("etcd did not answer in time")
                    return

    async def _extend(self) -> None:
        limits, sent_s = configuration.current().named, _now_s()
        # Of what is left a part only where there are others to ask: a member that fell silent must leave time for them.
        left_s = self._leads_until_s - sent_s
        timeout_s = max(left_s / 3 if self._etcd.is_several else left_s, limits.extend_timeout_s_min)
        granted_s = await self._etcd.extend(self._lease, min(timeout_s, limits.etcd_timeout_s))
        self._leads_until_s = sent_s + granted_s

    def lose(self, why: str) -> None:
        """The leadership is over, or in doubt: nothing is answered any more, and the lease runs out."""
        was_leading, self._leads = self._leads, False
        self._serves = False
        # A leader in doubt must not go on extending: the next one is elected once this lease is gone.
        if self._keeper is not None and self._keeper is not asyncio.current_task():
            self._keeper.cancel()
        if was_leading:
            self._on_lost(why)

    async def resign(self) -> None:
        """Gives up the leadership at once, if etcd answers; else its lease runs out. May be repeated."""
        # First: the next leader may answer from the moment at which the lease is revoked.
        self._leads = self._serves = False
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
        return _decode_candidate(value)
    except msgspec.DecodeError:
        return None


async def _never() -> None:
    await asyncio.get_running_loop().create_future()


async def _first_of(keeper: asyncio.Task[None], *waits: Coroutine[Any, Any, None]) -> int:
    """Which of the waits ended first; -1: the keeper. An error of theirs is raised."""
    tasks = [asyncio.create_task(wait, name="named-candidate") for wait in waits]
    try:
        await asyncio.wait([keeper, *tasks], return_when=asyncio.FIRST_COMPLETED)
        ended = next((number for number, task in enumerate(tasks) if task.done()), -1)
        if ended >= 0:
            tasks[ended].result()
        return ended
    finally:
        # Waited for below: on its way out each gives back its stream or its descriptor.
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def follow_candidates(
    etcd_endpoints: Sequence[str], realm: str, tls: str = ""
) -> AsyncGenerator[list[Candidate], None]:
    """The candidates of a realm's named, the leader first, and again each time that this changes. Goes on while etcd
    does not answer. Whoever iterates closes it (``contextlib.aclosing``)."""
    etcd = Etcd(etcd_endpoints, configuration.current().named.etcd_timeout_s, tls=tls)
    try:
        async with contextlib.aclosing(candidates_of(etcd, realm)) as changes:
            async for candidates in changes:
                yield candidates
    finally:
        await etcd.close()


async def candidates_of(etcd: Etcd, realm: str) -> AsyncGenerator[list[Candidate], None]:
    """``follow_candidates``, over a connection that is there."""
    prefix = Keys(realm).election
    while True:
        try:
            # Before the list, which is read at this revision: a change since then is told by the watch.
            revision = await etcd.revision()
            keys = [kv async for kv in etcd.scan(prefix, revision)]
            keys.sort(key=lambda kv: kv.create_revision)
            yield [candidate for kv in keys if (candidate := _decode(kv.value)) is not None]
            # The first change is enough, whatever it is: the list is read anew.
            async for _ in etcd.watch(prefix, revision):
                break
        except (serr.SigmaError, Compacted) as error:
            _log(f"candidates: {error}")
            await asyncio.sleep(configuration.current().named.etcd_pause_s)


async def read_leader(etcd_endpoints: Sequence[str], realm: str, tls: str = "") -> Endpoint | None:
    """Where the leader of a realm's named answers, as etcd says; None if nobody leads. Unreachable without etcd."""
    etcd = Etcd(etcd_endpoints, configuration.current().named.etcd_timeout_s, tls=tls)
    try:
        return await leader_of(etcd, realm)
    finally:
        await etcd.close()


async def leader_of(etcd: Etcd, realm: str) -> Endpoint | None:
    """``read_leader``, over a connection that is there."""
    oldest = await etcd.oldest(Keys(realm).election)
    candidate = _decode(oldest.value) if oldest is not None else None
    return candidate.endpoint if candidate is not None else None

"""A client's mounts: prefixes of pathnames, and the servers that continue there (N-5)."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING, Final

import msgspec

from sigmaos_ray import debug, serr
from sigmaos_ray.fslib.repeats import UnreachableForGood
from sigmaos_ray.sessp.aside import Elsewhere, is_direct, leave_if_direct
from sigmaos_ray.sigmap import NAMED, Endpoint, path

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sigmaos_ray.fslib.fidclnt import FidClnt, RemoteFid
    from sigmaos_ray.fslib.locate import NamedLocator
    from sigmaos_ray.fslib.stats import ClientStats
    from sigmaos_ray.sessp.client import ClientSession

_log = debug.selector("MOUNT")

Prefix = tuple[str, ...]

_NAMEDS_MAX: Final = 16
"""Addresses of nameds that a client keeps."""


class Mount:
    """One mount: the fid of the root that an endpoint names."""

    __slots__ = ("endpoint", "entry", "fid", "is_asked_for", "is_cut", "is_forgotten", "prefix")

    def __init__(self, prefix: Prefix, fid: RemoteFid, endpoint: Endpoint, entry: str = "") -> None:
        self.prefix = prefix
        self.fid = fid
        self.endpoint = endpoint
        self.entry = entry
        """Of a mount at ``~any`` or ``~local``: the name of the entry that was chosen."""
        self.is_asked_for = False
        """True if no endpoint file is behind it (``mount_tree``): it stays, and attaches again after a failure."""
        self.is_cut = False
        """True once it was disconnected."""
        self.is_forgotten = False
        """True once it left the table; one that was asked for is attached anew."""

    @property
    def alive(self) -> bool:
        return not (self.is_forgotten or self.fid.session.ended)


class MountTable:
    """All mounts of one client. The root, ``name``, is mounted when it is first needed."""

    def __init__(self, fids: FidClnt, locator: NamedLocator, stats: ClientStats) -> None:
        self._fids = fids
        self._locator = locator
        self._stats = stats
        self._mounts: dict[Prefix, Mount] = {}
        """Never changed: each change makes another one. So a thread that looks up a pathname sees one state."""
        self._attaching: dict[tuple[Prefix, Endpoint | None], asyncio.Task[Mount]] = {}
        """Those who need one mount at a time make one attach. Without the endpoint at ``~any`` and ``~local``, where
        each may have chosen another one."""
        self._root_lock = asyncio.Lock()
        self._other_roots: dict[str, Callable[[], Awaitable[Endpoint]]] = {}
        """How to find the server of a first component other than ``name``."""
        self._looking: asyncio.Task[None] | None = None
        """Whether named has moved: while calls to it take long."""
        self._asked_s = 0.0
        """When others were asked whether they lead."""

    async def longest(self, parts: list[str], *, exact: bool) -> tuple[Mount, list[str]]:
        """The mount with the longest prefix of ``parts``, and what is left of them. ``exact=False`` passes over a
        mount at the very pathname: the endpoint file itself is meant (N-5)."""
        if parts[0] != NAMED and parts[0] not in self._other_roots:
            raise serr.NotFound(parts[0], f"pathnames begin with {' or '.join(map(repr, self.roots()))}")
        longest = len(parts) if exact or len(parts) == 1 else len(parts) - 1
        mounts = self._mounts
        for length in range(longest, 0, -1):
            mount = mounts.get(tuple(parts[:length]))
            if mount is None:
                continue
            _check_not_cut(mount)
            if mount.alive:
                return mount, parts[length:]
            if length == 1:
                break
            leave_if_direct()
            if mount.is_asked_for:
                mount = await self.mount(mount.prefix, mount.endpoint, is_asked_for=True)
                if mount.alive:
                    return mount, parts[length:]
            self.unmount(mount)
            mounts = self._mounts
        return await (self._root_here(parts[0]) if is_direct() else self._root(parts[0])), parts[1:]

    def roots(self) -> list[str]:
        """What a pathname may begin with."""
        return [NAMED, *sorted(self._other_roots)]

    async def _root(self, first: str) -> Mount:
        mount = self._mounts.get((first,))
        if mount is not None:
            _check_not_cut(mount)
            if mount.alive:
                return mount
        # One dial at a time: whoever came meanwhile takes its outcome instead of dialling again.
        async with self._root_lock:
            mount = self._mounts.get((first,))
            if mount is None or not mount.alive:
                mount = await (self._mount_root() if first == NAMED else self._mount_other_root(first))
            return mount

    async def _root_here(self, first: str) -> Mount:
        """In this thread, for a client that did nothing yet. Elsewhere if it did, or named is not where it was."""
        keeper = self._fids.loop_keeper
        if keeper is None or first != NAMED:
            raise Elsewhere
        with keeper.without_loop():
            mount = self._mounts.get((NAMED,))
            if mount is not None and mount.alive:  # of another thread
                return mount
            endpoint = self._locator.last_seen
            if not endpoint.addrs:
                raise Elsewhere
            mount = await self._attach_root(endpoint)
            mount.fid.session.tell_slow(partial(self._root_is_slow, mount))
            return mount

    async def _mount_root(self) -> Mount:
        while True:
            endpoint = await self._locator.current()
            try:
                mount = await self._locator.while_there(endpoint, self._attach_root(endpoint))
            except serr.Unreachable:
                # A leader that just went is still where it was last seen: the state file may say more by now.
                self._stats.path["NgetNamedErr"] += 1
                await self._locator.refresh()
                if (await self._locator.current()).addrs == endpoint.addrs:
                    raise
            else:
                # Of named alone: where it is can be looked up without asking it, and of no other server.
                mount.fid.session.tell_slow(partial(self._root_is_slow, mount))
                return mount

    async def _attach_root(self, endpoint: Endpoint) -> Mount:
        fid = await self._fids.attach(endpoint, seeks_named=True)
        leader = fid.session.address
        # The one that leads first: so it can be compared with what the instance says.
        addrs = dict.fromkeys((leader, *endpoint.addrs, *fid.standbys))
        endpoint = msgspec.structs.replace(endpoint, addrs=tuple(addrs)[:_NAMEDS_MAX])
        self._locator.heard(endpoint)
        return self._keep((NAMED,), fid, endpoint)

    def add_root(self, first: str, find: Callable[[], Awaitable[Endpoint]]) -> None:
        """Pathnames may begin with ``first`` from now on; ``find`` is asked when it is first needed, and again after
        its server failed. Exists if it is a root already."""
        if first == NAMED or first in self._other_roots:
            raise serr.Exists(first, "a root already")
        self._other_roots[first] = find

    async def _mount_other_root(self, first: str) -> Mount:
        return await self.mount((first,), await self._other_roots[first]())

    async def root_endpoint(self, first: str) -> Endpoint:
        """Where a root is, or was when it was last asked: nothing is sent to it."""
        mount = self._mounts.get((first,))
        if mount is not None:
            return mount.endpoint
        leave_if_direct()
        if first == NAMED:
            return await self._locator.current()
        if first in self._other_roots:
            return await self._other_roots[first]()
        raise serr.NotFound(first, f"pathnames begin with {' or '.join(map(repr, self.roots()))}")

    async def look_again(self) -> None:
        """Forgets where named is thought to be, and leaves it if it is elsewhere."""
        await self._locator.refresh()
        mount = self._mounts.get((NAMED,))
        if mount is not None:
            await self._leave_if_moved(mount)

    def _root_is_slow(self, mount: Mount) -> None:
        """Calls to named take long. A leader that was stopped keeps its connections and answers nothing."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._leave_if_moved(mount), name="named-moved")

    async def _leave_if_moved(self, mount: Mount) -> None:
        if await self._locator.has_moved(mount.endpoint) or await self._another_leads(mount):
            mount.fid.session.abandon("another process leads")

    async def _another_leads(self, mount: Mount) -> bool:
        """Asks the other nameds that are known, where the instance itself does not say who leads: from outside of it,
        or while the machine that would say so is gone."""
        limits, now_s = self._fids.limits, time.monotonic()
        addrs = (*mount.endpoint.addrs, *(await self._locator.current()).addrs)
        ours = mount.fid.session.address
        if self._locator.is_told or not set(addrs) - {ours} or now_s - self._asked_s < limits.ask_pause_s:
            return False
        self._asked_s = now_s
        try:
            async with asyncio.timeout(limits.ask_pause_s):
                fid = await self._fids.attach(Endpoint(addrs=addrs), seeks_named=True, but_not=ours)
        except (serr.SigmaError, TimeoutError) as error:
            _log(f"nobody else leads: {error}")
            return False
        fid.free()
        return True

    async def close(self) -> None:
        """Ends what runs by itself. May be repeated."""
        looking, self._looking = self._looking, None
        tasks = {*self._attaching.values(), *([looking] if looking is not None else [])}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await self._locator.close()

    async def mount(self, prefix: Prefix, endpoint: Endpoint, *, entry: str = "", is_asked_for: bool = False) -> Mount:
        """Attaches to the endpoint's server and enters it, unless it is there already. Unreachable if it does not
        answer; Inval for an endpoint without a proper address."""
        there = self._mounts.get(prefix)
        if there is None or not there.alive or there.is_cut or not (entry or there.endpoint == endpoint):
            key = (prefix, None if entry else endpoint)
            attaching = self._attaching.get(key)
            if attaching is None:
                attaching = asyncio.create_task(self._attach(prefix, endpoint, entry), name=f"attach-{prefix[-1]}")
                self._attaching[key] = attaching
                attaching.add_done_callback(partial(self._attached, key))
            # Shielded: others may wait for the same one.
            there = await asyncio.shield(attaching)
        there.is_asked_for |= is_asked_for
        return there

    def _attached(self, key: tuple[Prefix, Endpoint | None], task: asyncio.Task[Mount]) -> None:
        self._attaching.pop(key, None)
        task.cancelled() or task.exception()  # looked at: all who waited may have gone

    async def _attach(self, prefix: Prefix, endpoint: Endpoint, entry: str) -> Mount:
        # A client's keys go to the servers that they are for, not to whoever serves a file.
        service = prefix[1] if len(prefix) > 2 and prefix[0] == NAMED else ""
        fid = await self._fids.attach(endpoint, service)
        return self._keep(prefix, fid, endpoint, entry)

    def _keep(self, prefix: Prefix, fid: RemoteFid, endpoint: Endpoint, entry: str = "") -> Mount:
        older = self._mounts.get(prefix)
        if older is not None:
            older.fid.free()
        mount = Mount(prefix, fid, endpoint, entry)
        self._mounts = {**self._mounts, prefix: mount}
        fid.session.tell_end(partial(self._session_ended, mount))
        _log(f"mount {'/'.join(prefix)} at {endpoint.addrs}")
        return mount

    def _session_ended(self, mount: Mount) -> None:
        """Nothing is kept of a server that is gone, but for what was asked for, and what was cut for good."""
        if self._mounts.get(mount.prefix) is mount and not (mount.is_asked_for or mount.is_cut):
            self._mounts = {prefix: each for prefix, each in self._mounts.items() if each is not mount}

    def unmount(self, mount: Mount) -> None:
        """Forgets a mount whose server failed, and every other one through the same session."""
        _log(f"unmount {'/'.join(mount.prefix)}")
        # Fids end with their session: no mount through it is of use any more.
        gone: set[Prefix] = set()
        for prefix, other in self._mounts.items():
            # One that was cut stays, or the next walk would mount it anew: it is to be Unreachable for good (N-5).
            if (other is mount or other.fid.session is mount.fid.session) and not (other.is_cut or other.is_forgotten):
                other.is_forgotten = True
                other.fid.free()  # where the session lives, the server keeps the fid
                if not other.is_asked_for:
                    gone.add(prefix)
        self._mounts = {prefix: each for prefix, each in self._mounts.items() if prefix not in gone}

    def resolved(self, parts: list[str]) -> list[str]:
        """The pathname with each ``~any`` and ``~local`` that this client goes through replaced by its entry."""
        if not any(map(path.is_union, parts)):
            return parts
        resolved = []
        for place, part in enumerate(parts):
            mount = self._mounts.get(tuple(parts[: place + 1])) if path.is_union(part) else None
            resolved.append(mount.entry if mount is not None and mount.entry else part)
        return resolved

    def at(self, prefix: Prefix) -> Mount | None:
        """The mount at the very prefix."""
        return self._mounts.get(prefix)

    def of_session(self, session: ClientSession, parts: list[str]) -> Mount | None:
        """A mount of the session: if there are several, one that leads to ``parts``."""
        mounts = [mount for mount in self._mounts.values() if mount.fid.session is session]
        leading = [mount for mount in mounts if tuple(parts[: len(mount.prefix)]) == mount.prefix]
        return max(leading or mounts, key=lambda mount: len(mount.prefix), default=None)

    async def detach(self, mount: Mount) -> None:
        """Takes a mount out, asked for or not; the server frees all that this client has there."""
        # First: ``unmount`` keeps in the table what was asked for.
        mount.is_asked_for = False
        self.unmount(mount)
        if not mount.fid.session.ended:
            await self._fids.detach(mount.fid.session)

    def cut(self, mount: Mount) -> None:
        """Ends a mount's connection; from now on the mount is Unreachable."""
        mount.is_cut = True
        mount.fid.session.abandon("disconnected")

    @property
    def is_cut(self) -> bool:
        """True once any mount was disconnected."""
        return any(mount.is_cut for mount in self._mounts.values())

    def table(self) -> dict[str, Endpoint]:
        """The mounts by prefix."""
        return {"/".join(prefix): mount.endpoint for prefix, mount in sorted(self._mounts.items())}


def _check_not_cut(mount: Mount) -> None:
    if mount.is_cut:
        raise UnreachableForGood("/".join(mount.prefix), "disconnected")

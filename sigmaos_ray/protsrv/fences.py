"""Fences that a server has seen (L-21), and how it shows them: files in ``.fences``. The table is pure.

A fence shuts an old leader out of this server only from when a newer one has reached it. So a new leader brings its
fence to each server before it relies on anything, as ``leaderclnt`` does, and a server that forgets its fences lets old
leaders in again.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

import msgspec

from sigmaos_ray import config as configuration
from sigmaos_ray import debug, serr
from sigmaos_ray.protsrv.devices import ReadOnlyDir, ReportNode
from sigmaos_ray.sigmap import DEV_FENCE, FENCES, NO_FENCE, Fence, decode_fence

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from sigmaos_ray.config import Store
    from sigmaos_ray.protsrv.node import Node, OpenHow
    from sigmaos_ray.rpcsrv import Caller

_log = debug.selector("FENCE")

_DIR_PATH: Final = 0x20
_FIRST_PATH: Final = 0x1_0000


FORGOTTEN: Final = "~forgotten"
"""The pathname under which a table keeps the newest epoch of those that it has forgotten. No entry has such a name."""


class FenceTable:
    """The newest fence per pathname. An older one is refused, a newer one remembered; no fence always passes.

    It remembers so many, ``fences_max``. Beyond that the one that was not used for longest is forgotten, and its epoch
    kept: a fence of an unknown pathname that is not newer may be of a leader that it shut out, and is Stale. Epochs are
    revisions of one store, which grow from election to election, of whatever name: so whoever is elected after that
    passes, and a leader that is refused for nothing is elected again.

    ``known``: what is remembered from before. ``on_change`` is called each time that something is remembered or
    forgotten, right after it: a server that keeps its fences writes them down there, before it makes the change that
    brought the fence. Otherwise it could restart after the change, and let an old leader undo it.
    ``is_held``: tells of a fence that its leader is known to lead; such a one is not forgotten, however long it was not
    used. ``on_forget`` is called with the pathname of each that is, before ``on_change``.
    """

    def __init__(
        self,
        known: Iterable[Fence] = (),
        on_change: Callable[[], None] | None = None,
        limits: Store | None = None,
        *,
        is_held: Callable[[Fence], bool] | None = None,
        on_forget: Callable[[str], None] | None = None,
    ) -> None:
        self._limits = limits or configuration.current().store
        # In order of their last use, as far as that is known: of those from before, the newer elections last.
        self._newest = {fence.pathname: fence for fence in sorted(known, key=lambda fence: fence.epoch)}
        self._on_change = on_change
        self._is_held = is_held
        self._on_forget = on_forget

    def check(self, *fences: Fence) -> None:
        """Raises Stale for a fence that is older than one seen before; remembers a newer one, but none if one of them
        is refused. Call it before anything of the change is made. Inval if a new pathname is too long."""
        for fence in fences:
            self._admit(fence)
        is_changed = False
        for fence in filter(None, fences):
            # Taken out and put in again: the order is that of the last use.
            newest = self._newest.pop(fence.pathname, None)
            self._newest[fence.pathname] = newest if newest is not None and fence <= newest else fence
            if newest is None or fence > newest:
                _log(f"{fence.pathname} is at {fence.epoch}, {fence.seqno}")
                is_changed = True
        if is_changed:
            self._forget_some()
            # Remembered first: if it cannot be written down the change is not made, and a fence too new does no harm.
            self._changed()

    def _admit(self, fence: Fence) -> None:
        if not fence:
            return
        if fence.pathname == FORGOTTEN:
            raise serr.Inval(fence.pathname, "servers keep this name for themselves")
        newest = self._newest.get(fence.pathname)
        if newest is None:
            self._check_unknown(fence)
        elif fence < newest:
            _log(f"{fence.pathname}: refused {fence.epoch}, {fence.seqno}")
            raise stale(fence, newest)

    def _check_unknown(self, fence: Fence) -> None:
        size, limits = len(fence.pathname.encode()), self._limits
        if size > limits.fence_bytes_max:
            limit = f"{size} bytes: a fence's pathname has at most {limits.fence_bytes_max}"
            raise serr.Inval(fence.pathname, limit)
        forgotten = self._newest.get(FORGOTTEN)
        if forgotten is not None and fence.epoch <= forgotten.epoch:
            why = f"the server has forgotten fences up to epoch {forgotten.epoch}: be elected again"
            raise serr.Stale(fence.pathname, why)

    def _forget_some(self) -> None:
        forgotten = self._newest.pop(FORGOTTEN, Fence(FORGOTTEN))
        for _ in range(len(self._newest) - 1):  # not the last one, which is about to be relied on
            if len(self._newest) <= self._limits.fences_max:
                break
            oldest = self._newest.pop(next(iter(self._newest)))
            if self._is_held is not None and self._is_held(oldest):
                self._newest[oldest.pathname] = oldest  # as if it had been used now
                continue
            forgotten = max(forgotten, Fence(FORGOTTEN, oldest.epoch))
            if self._on_forget is not None:
                self._on_forget(oldest.pathname)
        if forgotten.epoch:
            self._newest[FORGOTTEN] = forgotten

    def remember(self, fence: Fence) -> None:
        """Makes it the newest of its pathname, even if the one remembered is newer: where an election begins anew, its
        epochs do too."""
        self._newest.pop(fence.pathname, None)
        self._newest[fence.pathname] = fence
        self._forget_some()
        self._changed()

    def forget(self, pathname: str) -> None:
        """Forgets the fence of a pathname: any is accepted again. NotFound if there is none."""
        if self._newest.pop(pathname, None) is None:
            raise serr.NotFound(pathname)
        self._changed()

    @property
    def forgotten_epoch(self) -> int:
        """The newest epoch of those that were forgotten; 0 if none was."""
        return self._newest.get(FORGOTTEN, NO_FENCE).epoch

    def _changed(self) -> None:
        if self._on_change is not None:
            self._on_change()

    def knows(self, pathname: str) -> bool:
        """True if a fence of that pathname is remembered."""
        return pathname in self._newest

    def newest(self) -> list[Fence]:
        """All that are remembered, by pathname."""
        return [self._newest[pathname] for pathname in sorted(self._newest)]


def stale(fence: Fence, newest: Fence) -> serr.Stale:
    """The error of a fence that another one has overtaken."""
    of = f"epoch {fence.epoch}" if fence.epoch != newest.epoch else f"epoch {fence.epoch}, number {fence.seqno}"
    now = f"{newest.epoch}" if fence.epoch != newest.epoch else f"{newest.seqno}"
    return serr.Stale(fence.pathname, f"{of} is over, now {now}")


def shown_name(fence: Fence) -> str:
    """The name of a fence's file: its pathname with ``-`` for each slash."""
    return fence.pathname.replace("/", "-")


def full_name(fence: Fence) -> str:
    """A name that no other fence's file has: for those that differ in ``/`` and ``-`` only."""
    return fence.pathname.replace("%", "%25").replace("-", "%2D").replace("/", "-")


class FencesDir(ReadOnlyDir):
    """``.fences``: a file per fence, JSON. Putting one there tells the server of a fence, as a change under it would;
    removing it forgets the fence (L-24). ``newest``, ``check`` and ``forget`` are those of the server's table, which
    may have to wait for where it keeps them."""

    dev = DEV_FENCE

    def __init__(
        self,
        newest: Callable[[], list[Fence]],
        check: Callable[[Fence], Awaitable[None]],
        forget: Callable[[str], Awaitable[None]],
    ) -> None:
        super().__init__(FENCES, _DIR_PATH)
        self._newest = newest
        self._check = check
        self._forget = forget

    @classmethod
    def of(cls, table: FenceTable) -> FencesDir:
        """The directory of a table that needs no waiting for."""

        async def check(fence: Fence) -> None:
            table.check(fence)

        async def forget(pathname: str) -> None:
            table.forget(pathname)

        return cls(table.newest, check, forget)

    def nodes(self) -> dict[str, Node]:
        fences = self._newest()
        counts = Counter(map(shown_name, fences))
        names = {
            fence: full_name(fence) if counts[shown_name(fence)] > 1 or "%" in fence.pathname else shown_name(fence)
            for fence in fences
        }
        return {name: _ShownFence(name, fence, self._forget) for fence, name in names.items()}

    async def lookup(self, caller: Caller, name: str) -> Node:
        """By the full name also where a shorter one is shown."""
        for fence in self._newest():
            if full_name(fence) == name:
                return _ShownFence(name, fence, self._forget)
        return await super().lookup(caller, name)

    async def put(self, caller: Caller, name: str, data: bytes, how: OpenHow, offset: int = 0) -> int:
        """Stale for a fence older than the one that is known. Inval unless the data are a fence of that name."""
        try:
            fence = decode_fence(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise serr.Inval(name, f"not a fence: {error}") from error
        if not all(0 <= number < 1 << 64 for number in (fence.epoch, fence.seqno)):
            raise serr.Inval(name, "epoch and seqno are numbers of 64 bits")
        if not fence or fence.pathname == FORGOTTEN or name not in (shown_name(fence), full_name(fence)):
            raise serr.Inval(name, f"the fence of {fence.pathname!r} has another name")
        await self._check(fence)
        return len(data)


class _ShownFence(ReportNode):
    """One fence as a file, as it was when the directory was looked at."""

    dev = DEV_FENCE

    def __init__(self, name: str, shown: Fence, forget: Callable[[str], Awaitable[None]]) -> None:
        # By the pathname, not by its place among the others: clients tell objects apart by it while fences come and go.
        path = _FIRST_PATH + hash(shown.pathname) % (1 << 30)
        super().__init__(name, path, lambda: msgspec.json.encode(shown))
        self._shown = shown
        self._forget = forget

    async def remove(self, caller: Caller, fence: Fence = NO_FENCE) -> None:
        await self._forget(self._shown.pathname)

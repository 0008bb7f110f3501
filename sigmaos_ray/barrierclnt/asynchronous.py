"""Barriers as directories (Y-6): parties come together before they go on, and again before they part.

Each party is a leased file, so that one which died does not count. ZooKeeper's double barrier is the model: the
``ready`` entry keeps a fast party's leaving from being taken for its not having come.

A directory serves again and again, so ``ready`` says whom it lets in: a party that comes for the next time waits for a
``ready`` that names it, and one that is late to leave waits for those that it came with, not for those who are back
already. What all parties of one time left behind, dead, is taken away by who comes next.
"""

from __future__ import annotations

import contextlib
import secrets
from typing import TYPE_CHECKING, Final, Self

from sigmaos_ray import serr
from sigmaos_ray.deadlines import within
from sigmaos_ray.leaseclnt import leases_of, made_or_undone
from sigmaos_ray.sigmap import OEXCL, OWRITE

if TYPE_CHECKING:
    from types import TracebackType

    from sigmaos_ray.fslib import AsyncFsLib

READY: Final = "ready"


class AsyncBarrier:
    """One party of a barrier at the directory ``pn``, which is made if it is missing. An async context manager: all
    enter together, and leave together. The same directory serves again after all have left, and so does this object."""

    def __init__(self, sc: AsyncFsLib, pn: str, parties_count: int) -> None:
        if parties_count < 1:
            raise serr.Inval(pn, f"a barrier of {parties_count} parties")
        self._sc = sc
        self._leases = leases_of(sc)
        self._pathname = pn.rstrip("/")
        self._parties_count = parties_count
        self._name = ""
        """Of our entry: another one each time, so that nobody takes this time for the last."""
        self._ready = f"{self._pathname}/{READY}"
        self._members: frozenset[str] = frozenset()
        """Of whom we wait for when we leave: those who were let in with us."""

    async def enter(self, timeout_s: float | None = None) -> None:
        """Blocks until all parties are here. Timeout past ``timeout_s``: this party has left again. Inval if it is here
        already."""
        if self._name:
            raise serr.Inval(self._pathname, "this party is here already")
        async with within(timeout_s, self._pathname, "not all came: not entered"):
            with contextlib.suppress(serr.Exists):
                await self._sc.mkdir(self._pathname)
            name = f"{self._sc.pid}.{secrets.token_hex(8)}"
            await made_or_undone(self._come(name), lambda _: self._remove(name), self._sc.core.behind)
            # First be seen, then count: of parties that come at the same time, the last one sees them all.
            try:
                await self._wait_ready(name)
            except BaseException:  # also who is cancelled is no party any more
                with contextlib.suppress(serr.SigmaError):  # then it goes with its lease
                    await self._sc.core.behind.settle(self._remove(name), "barrier-undo")
                raise
            self._name = name

    async def _come(self, name: str) -> None:
        while True:
            lease = await self._leases.ask_lease(self._pathname + "/")
            lease.keep_extending()
            try:
                await self._sc.put_leased_file(f"{self._pathname}/{name}", b"", lease)
            except serr.IOErr:  # its fate is unknown, and nobody else has this name: the next try tells
                continue
            except serr.Exists:
                return
            return

    async def _wait_ready(self, name: str) -> None:
        # Of the next to come, each entry is news to those alone who may have to let them in; of ``ready`` to all.
        async def let_in() -> bool:
            return name in await self._let_in()

        await self._sc.wait_until(f"{self._pathname}/", let_in, of=self._matters)

    def _matters(self, name: str) -> bool:
        """Whether it may let us in that this entry came or went."""
        return name == READY or name in self._members

    async def _let_in(self) -> frozenset[str]:
        """Whom the present ``ready`` lets in; makes one if all are here, and none is in the way."""
        while True:
            contents = await self._read_ready()
            self._members = frozenset(contents.decode().split())
            parties = set(await self._parties())
            if contents:
                if self._members & parties:
                    return self._members
                # All that it let in have left, or died before they could take it away.
                await self._remove_ready(contents)
            elif len(parties) < self._parties_count:
                return self._members
            else:
                with contextlib.suppress(serr.Exists, serr.IOErr):  # somebody else did, or perhaps we did: look again
                    await self._sc.put_file(self._ready, " ".join(sorted(parties)).encode(), mode=OWRITE | OEXCL)

    async def _read_ready(self) -> bytes:
        try:
            return await self._sc.get_file(self._ready)
        except serr.NotFound:
            return b""

    async def _remove_ready(self, contents: bytes) -> None:
        with contextlib.suppress(serr.NotFound):  # or another one has its place
            await self._sc.remove_own(self._ready, contents)

    async def leave(self, timeout_s: float | None = None) -> None:
        """Blocks until all that came in with us have come to leave, or died. Timeout past ``timeout_s``: this party has
        left, others are still here. Nothing to do for one that is not here."""
        name, members = self._name, self._members
        if not name:
            return
        self._name = ""

        async def all_left() -> bool:
            return members.isdisjoint(await self._parties())

        async with within(timeout_s, self._pathname, "others are still here: not left"):
            await self._remove(name)
            await self._sc.wait_until(f"{self._pathname}/", all_left, of=members.__contains__)
            # Only now: a party that is still to see ``ready`` has an entry, and is waited for above.
            await self._remove_ready(" ".join(sorted(members)).encode())

    async def _parties(self) -> list[str]:
        return [stat.name for stat in await self._sc.get_dir(self._pathname + "/") if stat.name != READY]

    async def _remove(self, name: str) -> None:
        pn = f"{self._pathname}/{name}"
        with contextlib.suppress(serr.NotFound):
            try:
                await self._sc.remove(pn)
            except serr.IOErr:  # nobody else has this name: asking again does no harm
                await self._sc.remove(pn)

    async def __aenter__(self) -> Self:
        await self.enter()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            await self.leave()
            return
        # Others are waited for, but no error of that is told over the one of the block.
        with contextlib.suppress(serr.SigmaError):
            await self._sc.core.behind.settle(self.leave(), "barrier-leave")

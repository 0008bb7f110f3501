"""A server's gate: who is let in, and as whom."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeAlias

from sigmaos_ray import serr
from sigmaos_ray.auth import living, rights, tokens
from sigmaos_ray.auth.tokens import WHAT
from sigmaos_ray.auth.verifying import Verifier
from sigmaos_ray.machine import machine

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sigmaos_ray.auth.tokens import Claims, TokenSlot
    from sigmaos_ray.auth.verifying import Trust

    AskSchedd: TypeAlias = Callable[[TokenSlot, bytes], Awaitable[bool]]
    """Asks the schedd of another machine whether a token's mark stands in its table. Raises serr's errors if it does
    not answer."""


def gate_of(trust: Trust, state_dir: str, ask_schedd: AskSchedd | None = None) -> Gate | None:
    """A server's gate as ``Gate`` has it; None if it is to let in whoever comes."""
    return Gate(trust, state_dir, ask_schedd) if trust.key else None


class Gate:
    """Lets in who shows credentials of the instance. Whoever makes it closes it.

    ``admit`` is for each new session, ``check_attach`` for each attach: that one also knows of procs that have ended.
    """

    def __init__(self, trust: Trust, state_dir: str, ask_schedd: AskSchedd | None = None) -> None:
        """``ask_schedd``: without one, procs of other machines' schedds are not let in."""
        self.verifier = Verifier(trust)
        self._living = living.LiveReader(living.table_dir(state_dir))
        self._ask_schedd = ask_schedd
        self._on_change: list[Callable[[], None]] = []
        self.sessions_max = 0
        """Of the server; 0: as its configuration says."""
        self.fids_max = 0
        """The same of what its sessions have open."""

    def tell_change(self, call: Callable[[], None]) -> None:
        """``call`` is called when tokens that were good may be so no more."""
        self._on_change.append(call)

    def learn(self, generations: str) -> None:
        """Of newer ones, from whomever. Perm if they are not the authority's."""
        if self.verifier.learn(generations):
            for call in self._on_change:
                call()

    def admit(self, token: str) -> Claims:
        """Whose token it is. Perm, with the reason, if that one may not come in."""
        return self.verifier.claims(token)

    async def check_attach(self, token: str, realm: str, principal: str) -> Claims:
        """Whose token it is. Perm if that one may not come in, or not as that principal of that realm; or is a proc
        that has ended. Timeout or Unreachable if that cannot be found out."""
        claims = self.verifier.claims(token)
        rights.check_speaks_for(claims, realm, principal)
        place = claims.place
        if place is not None and not await self._lives(place, tokens.mark_of(token)):
            raise serr.Perm(WHAT, f"{claims.subject or 'their owner'} has ended")
        return claims

    async def _lives(self, place: TokenSlot, mark: bytes) -> bool:
        if place.machine == machine():
            return self._living.lives(place, mark)
        if self._ask_schedd is None:
            return False
        # In a task: requests begin without one (``sessp.eager``), and it has a time-out.
        return await asyncio.ensure_future(self._ask_schedd(place, mark))

    def close(self) -> None:
        """Lets go of what it reads. May be repeated."""
        self._living.close()

"""What a server makes of tokens: of whom they are, or why they are refused. Pure but for the clock."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import msgspec

from sigmaos_ray import decoding, serr
from sigmaos_ray.auth import tokens
from sigmaos_ray.auth.tokens import WHAT, Claims, TokenKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from sigmaos_ray.auth.tokens import Signed

_KEPT_MAX: Final = 4096
"""Tokens of which a server remembers what they state: more are looked at anew."""
_ONE: Final = (2,)
_ISSUED: Final = frozenset({TokenKind.WORKER, TokenKind.PROC})
"""What a schedd may state, of its realm."""


class Generations(msgspec.Struct, frozen=True):
    """Which of the realms' tokens are good: signed by the authority, and told on by anybody."""

    version: int = 0
    """Rises with each change."""
    of_realms: dict[str, int] = {}


class Trust(msgspec.Struct, frozen=True):
    """What a server has to know. Handed to it by who starts it."""

    key: str = ""
    """The authority's public key; empty: whoever comes is let in."""
    generations: str = ""
    """``Generations``, signed."""


_generations_from = decoding.json_decoder(Generations)


class Verifier:
    """Checks the tokens that a server is shown."""

    def __init__(self, trust: Trust, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._trust = Trust(key=trust.key)
        self._generations = Generations()
        self._known: dict[str, Claims] = {}
        self._issuers: dict[bytes, Claims] = {}
        self.learn(trust.generations)

    @property
    def generations(self) -> str:
        """The newest that it knows of, signed."""
        return self._trust.generations

    @property
    def version(self) -> int:
        """That one's."""
        return self._generations.version

    def learn(self, generations: str) -> bool:
        """Takes over what it is told, by whomever, if it is newer and the authority's; returns whether it was. Perm
        if it is not the authority's."""
        if not generations:
            return False
        (piece,) = tokens.pieces(generations, counts=_ONE)
        tokens.check(piece, self._trust.key)
        try:
            told = _generations_from(piece.body)
        except msgspec.MsgspecError as error:
            raise serr.Perm(WHAT, "malformed: no list of generations") from error
        if told.version <= self._generations.version:
            return False
        self._generations = told
        self._trust = Trust(self._trust.key, generations)
        self._known.clear()
        return True

    def claims(self, token: str) -> Claims:
        """Whose token this is. Perm, with the reason, for one that is not good (any more)."""
        claims = self._known.get(token)
        if claims is None:
            claims = self._look(token)
            if len(self._known) >= _KEPT_MAX:
                self._known.clear()
            self._known[token] = claims
        if claims.expires_s and claims.expires_s <= self._clock():
            raise serr.Perm(WHAT, "expired")
        return claims

    def _look(self, token: str) -> Claims:
        piece, *issuer = tokens.pieces(token)
        if issuer:
            claims = self._issued(piece, issuer[0])
        else:
            claims = tokens.claims_of(piece.body)
            tokens.check(piece, self._trust.key)
        if claims.kind is TokenKind.ISSUER:
            raise serr.Perm(WHAT, "a key's, not somebody's")
        if claims.kind is TokenKind.REALM and claims.generation < self._generations.of_realms.get(claims.realm, 0):
            raise serr.Perm(WHAT, f"revoked: {claims.realm} has newer ones")
        return claims

    def _issued(self, piece: Signed, issuer: Signed) -> Claims:
        vouched = self._issuer(issuer)
        claims = tokens.claims_of(piece.body)
        tokens.check(piece, vouched.key)
        if claims.kind not in _ISSUED or claims.realm != vouched.realm:
            raise serr.Perm(WHAT, f"{vouched.subject} may not vouch for {claims.kind.value}s of {claims.realm}")
        return claims

    def _issuer(self, piece: Signed) -> Claims:
        """Who signed a token. There are few, and they come again with each of their tokens."""
        whole = piece.body + piece.signature
        claims = self._issuers.get(whole)
        if claims is None:
            tokens.check(piece, self._trust.key)
            claims = tokens.claims_of(piece.body)
            if claims.kind is not TokenKind.ISSUER:
                raise serr.Perm(WHAT, "signed by who may not sign")
            if len(self._issuers) >= _KEPT_MAX:
                self._issuers.clear()
            self._issuers[whole] = claims
        return claims

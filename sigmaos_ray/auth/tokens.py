"""Tokens: signed statements of who somebody is.

A token is text: ``<claims>.<signature>``, both in URL-safe base64, the claims JSON, the signature Ed25519's (RFC 8032).
One that the authority of the instance did not sign itself goes on with the token of who did, whose claims hold the key:
``<claims>.<signature>.<issuer's claims>.<issuer's signature>``. So a server needs the authority's public key alone, and
asks nobody; as with certificates (RFC 5280), in a few bytes.
"""

from __future__ import annotations

import base64
import binascii
import enum
import hashlib
import secrets
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from sigmaos_ray import decoding, serr

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

TOKEN_CHARS_MAX: Final = 4096
"""Nobody signs longer ones."""
_PARTS: Final = (2, 4)
_MARK_BYTES: Final = 16
WHAT: Final = "credentials"
"""What errors are about."""


class TokenKind(enum.StrEnum):
    """Of what somebody shows a token."""

    REALM = "realm"
    """A person, or a program of one: all that the realm may."""
    KERNEL = "kernel"
    """A service of the instance."""
    ISSUER = "issuer"
    """Nobody: it signs tokens of workers and procs."""
    WORKER = "worker"
    """A worker of a schedd, which speaks for the procs that it runs."""
    PROC = "proc"


class TokenSlot(msgspec.Struct, frozen=True, array_like=True):
    """Where it is written that a token has not ended: a slot of a schedd's table (``living``)."""

    machine: str
    table: str
    """The name of the file."""
    slot: int
    address: str
    """Of the schedd, for who is on another machine."""


class Claims(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a token states. Times are seconds since the epoch."""

    kind: TokenKind
    realm: str
    subject: str = ""
    """A pid, or the name of a service; empty for a realm's."""
    parent: str = ""
    """Of a proc: its parent's pid."""
    generation: int = 0
    """Of a realm's: older ones than the realm's own are no longer good."""
    issued_s: float = 0.0
    expires_s: float = 0.0
    """0: it does not end by itself."""
    key: str = ""
    """An issuer's public key."""
    place: TokenSlot | None = None
    """None: it does not end with somebody."""
    nonce: str = ""


class Signed(NamedTuple):
    """A piece of a token: bytes, and somebody's signature of them."""

    body: bytes
    signature: bytes


_claims_from = decoding.json_decoder(Claims)


class Signer:
    """A private key that signs, and, unless it is the authority's own, the token that vouches for it."""

    def __init__(self, seed: bytes, vouched: str = "") -> None:
        """``seed``: the 32 bytes of an Ed25519 key. ``vouched``: an issuer's token for its public key."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # late: clients sign nothing

        self._key: Ed25519PrivateKey = Ed25519PrivateKey.from_private_bytes(seed)
        self._suffix = f".{vouched}" if vouched else ""

    @property
    def public_key(self) -> str:
        """As claims have it."""
        return encode(self._key.public_key().public_bytes_raw())

    def sign(self, body: bytes) -> str:
        """What was signed, and the signature, as text."""
        return f"{encode(body)}.{encode(self._key.sign(body))}{self._suffix}"

    def token(self, claims: Claims) -> str:
        """A token of these claims."""
        return self.sign(msgspec.json.encode(claims))


def new_seed() -> bytes:
    """A new private key."""
    return secrets.token_bytes(32)


def encode(data: bytes) -> str:
    """As it stands in tokens: base64 without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    """The reverse. Perm for what is none."""
    try:
        # Strict, and one text for each value: what is not exactly ours is refused before anything is computed of it.
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error) as error:
        raise serr.Perm(WHAT, "malformed: not base64") from error
    if encode(data) != text:
        raise serr.Perm(WHAT, "malformed: not base64")
    return data


def pieces(text: str, *, counts: tuple[int, ...] = _PARTS) -> list[Signed]:
    """The signed pieces of a token, its own first. Perm for what is none."""
    if not text:
        raise serr.Perm(WHAT, "none were shown")
    parts = text.split(".", max(counts)) if len(text) <= TOKEN_CHARS_MAX else []
    if len(parts) not in counts:
        raise serr.Perm(WHAT, "malformed: no token")
    data = [decode(part) for part in parts]
    return [Signed(body, signature) for body, signature in zip(data[::2], data[1::2], strict=True)]


def claims_of(body: bytes) -> Claims:
    """What a piece states. Perm if it is no claims."""
    try:
        return _claims_from(body)
    except msgspec.MsgspecError as error:
        raise serr.Perm(WHAT, "malformed: no claims") from error


def check(piece: Signed, public_key: str) -> None:
    """Perm if the owner of that key did not sign it."""
    from cryptography.exceptions import InvalidSignature  # late, as above
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(decode(public_key)).verify(piece.signature, piece.body)
    except (InvalidSignature, ValueError) as error:  # ValueError: no key
        raise serr.Perm(WHAT, "not of this instance: the signature is not its own") from error


def realm_of(token: str) -> str:
    """Which realm a token says it is of, unchecked: for its owner. Perm for what is no token."""
    return claims_of(pieces(token)[0].body).realm


def mark_of(token: str) -> bytes:
    """What stands for a token where it is kept that it has not ended; who reads it does not have the token."""
    return hashlib.sha256(token.encode()).digest()[:_MARK_BYTES]

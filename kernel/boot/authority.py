"""The authority of an instance: the key that its credentials are signed with, and which of them are good.

It stands in ``<state_dir>/auth``, which nobody but the instance's user can read: ``authority.json`` is the key,
``realms/<realm>.json`` what clients of a realm on this machine show. Kept over stops and starts.
"""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from kernel.shell import KernelCredentials
from sigmaos_ray import decoding, serr
from sigmaos_ray.auth import files, tokens
from sigmaos_ray.auth.files import RealmCredentials
from sigmaos_ray.auth.tokens import Claims, Signer, TokenKind
from sigmaos_ray.auth.verifying import Generations, Trust
from sigmaos_ray.sigmap import ROOT_REALM

if TYPE_CHECKING:
    from collections.abc import Callable

AUTH_DIR_NAME: Final = "auth"
_FILE_NAME: Final = "authority.json"


class _Kept(msgspec.Struct, kw_only=True):
    """What the file of the authority holds."""

    seed: str
    generations: Generations = Generations()


_kept_from = decoding.json_decoder(_Kept)


class TokenAuthority:
    """Opened by boot, which alone changes it; the command line of the same user opens it to sign what ends by itself.
    Error if the file is damaged, OSError if it cannot be read or written."""

    def __init__(self, state_dir: str | os.PathLike[str], clock: Callable[[], float] = time.time) -> None:
        self._state_dir = Path(state_dir)
        self._clock = clock
        self._file = self._state_dir / AUTH_DIR_NAME / _FILE_NAME
        self._kept = self._read() or self._begin()
        self._signer = Signer(tokens.decode(self._kept.seed))
        self._of_services: dict[str, KernelCredentials] = {}

    def _read(self) -> _Kept | None:
        try:
            return _kept_from(self._file.read_bytes())
        except FileNotFoundError:
            return None
        except msgspec.MsgspecError as error:
            raise serr.Error(str(self._file), f"damaged: {error}") from error

    def _begin(self) -> _Kept:
        self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        kept = _Kept(seed=tokens.encode(tokens.new_seed()))
        self._write(kept)
        return kept

    def _write(self, kept: _Kept) -> None:
        new = self._file.with_name(f".{_FILE_NAME}.new")
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
            file.write(msgspec.json.encode(kept))
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._file)

    @property
    def id(self) -> str:
        """Tells it apart from other instances' in messages to people; no secret."""
        return hashlib.sha256(self._signer.public_key.encode()).hexdigest()[:12]

    @property
    def trust(self) -> Trust:
        """What servers need to know of it now."""
        return Trust(key=self._signer.public_key, generations=self.generations)

    @property
    def generations(self) -> str:
        """Which realms' credentials are good, signed."""
        return self._signer.sign(msgspec.json.encode(self._kept.generations))

    # -- realms

    def realm_token(self, realm: str, lasts_s: float = 0.0) -> str:
        """What clients of a realm show; ``lasts_s``: 0 for one that does not end by itself."""
        now_s = round(self._clock(), 3)
        claims = Claims(
            kind=TokenKind.REALM,
            realm=realm,
            generation=self._kept.generations.of_realms.get(realm, 0),
            issued_s=now_s,
            expires_s=now_s + lasts_s if lasts_s else 0.0,
        )
        return self._signer.token(claims)

    def admit(self, realm: str) -> bool:
        """Makes the credentials of a realm, if it has none; returns whether it had none."""
        if realm in self._kept.generations.of_realms and files.file_of(self._state_dir, realm).exists():
            return False
        self._change(realm)
        return True

    def rotate(self, realm: str) -> None:
        """What clients of the realm showed until now is good no more; others stand in its file."""
        self._change(realm)

    def dismiss(self, realm: str) -> None:
        """The realm is no more: its credentials are not good for one of the same name."""
        self._next_generation(realm)
        files.file_of(self._state_dir, realm).unlink(missing_ok=True)

    def _change(self, realm: str) -> None:
        self._next_generation(realm)
        file = files.file_of(self._state_dir, realm)
        # What is there of TLS stays: it is renewed in a time of its own.
        present = files.read(file) if file.exists() else RealmCredentials(realm=realm)
        files.write(file, msgspec.structs.replace(present, token=self.realm_token(realm), trust=self.trust))

    def _next_generation(self, realm: str) -> None:
        before = self._kept.generations
        of_realms = {**before.of_realms, realm: before.of_realms.get(realm, 0) + 1}
        kept = _Kept(seed=self._kept.seed, generations=Generations(before.version + 1, of_realms))
        # Before anybody hears of it: a number that was told and forgotten would be given again.
        self._write(kept)
        self._kept = kept

    # -- the instance's own

    def of_services(self, realm: str) -> KernelCredentials:
        """What the services of a realm are started with. The same in each life of this object, but for what they are
        to know of others'."""
        made = self._of_services.get(realm)
        if made is None:
            made = self._of_services[realm] = self._made_for_services(realm)
        return msgspec.structs.replace(made, trust=self.trust)

    def _made_for_services(self, realm: str) -> KernelCredentials:
        now_s = round(self._clock(), 3)
        seed = tokens.new_seed()
        issuer = Claims(
            kind=TokenKind.ISSUER,
            realm=realm,
            subject=f"schedds of {realm}",
            key=Signer(seed).public_key,
            issued_s=now_s,
        )
        own = Claims(kind=TokenKind.KERNEL, realm=realm, subject=f"services of {realm}", issued_s=now_s)
        return KernelCredentials(
            token=self._signer.token(own), issuer=self._signer.token(issuer), issuer_seed=tokens.encode(seed)
        )

    def for_hosts(self) -> bytes:
        """What clients on the instance's other hosts show: as it stands in the root realm's file."""
        return files.file_of(self._state_dir, ROOT_REALM).read_bytes()

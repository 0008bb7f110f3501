"""Where a client finds its credentials: one small file for each realm, which the authority writes.

In the order of what counts: ``SIGMAOS_TOKEN``, a token; ``SIGMAOS_CREDENTIALS``, such a file, as ``sigmaos realm token
--file`` writes it for people on other machines; and what stands in the instance's state directory, which its own user
alone can read.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from sigmaos_ray import decoding, localfile, serr
from sigmaos_ray.auth import tokens
from sigmaos_ray.auth.verifying import Trust
from sigmaos_ray.sigmap import ROOT_REALM

if TYPE_CHECKING:
    from collections.abc import Mapping

TOKEN_VARIABLE: Final = "SIGMAOS_TOKEN"
FILE_VARIABLE: Final = "SIGMAOS_CREDENTIALS"


class RealmCredentials(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The contents of a file of credentials: a secret."""

    realm: str
    token: str = ""
    trust: Trust = Trust()
    """For servers that its owner starts."""
    named: tuple[str, ...] = ()
    """Where the root realm's named answers, for machines that do not know it otherwise."""
    ca: str = ""
    """Of an instance that speaks TLS (``tls.identity``): the authority's certificate, ..."""
    certificate: str = ""
    """... this client's, ..."""
    key: str = ""
    """... and its key."""

    def to_bytes(self) -> bytes:
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"


from_bytes: Final = decoding.json_decoder(RealmCredentials)
"""What ``to_bytes`` gave. Raises msgspec.DecodeError for what is something else."""


def realms_dir(state_dir: str | os.PathLike[str]) -> Path:
    """Where the files of an instance's realms are."""
    return Path(state_dir) / "auth" / "realms"


def file_of(state_dir: str | os.PathLike[str], realm: str) -> Path:
    """That of one realm."""
    return realms_dir(state_dir) / f"{realm}.json"


def read(file: str | os.PathLike[str]) -> RealmCredentials:
    """Perm for a file that cannot be read, Inval for one that holds something else."""
    try:
        return from_bytes(Path(file).read_bytes())
    except OSError as error:
        raise serr.Perm(os.fspath(file), f"no credentials: {error.strerror}") from error
    except msgspec.MsgspecError as error:
        raise serr.Inval(os.fspath(file), f"no credentials: {error}") from error


def write(file: Path, credentials: RealmCredentials) -> None:
    """Puts a file there whole, for its owner alone. OSError if it cannot be."""
    for directory in (file.parent.parent, file.parent):  # of several that are made, only the last gets the mode
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    with localfile.replacing(file, is_secret=True) as target:
        target.write(credentials.to_bytes())


def configured(environ: Mapping[str, str] = os.environ) -> RealmCredentials | None:
    """What the environment says; None if it says nothing. Perm and Inval for what it names and is none."""
    token = environ.get(TOKEN_VARIABLE, "").strip()
    if token:
        return RealmCredentials(realm=tokens.realm_of(token), token=token)
    file = environ.get(FILE_VARIABLE, "")
    return read(Path(file).expanduser()) if file else None


def token_for(realm: str, *state_dirs: str | os.PathLike[str]) -> str:
    """What a client shows that is not given a token: of its realm, or of the root's, which speaks for all. Of the first
    of these state directories that has any. Empty if there is none: then servers say so."""
    if (found := configured()) is not None:
        return found.token
    for state_dir in state_dirs:
        for name in dict.fromkeys((realm, ROOT_REALM)):
            file = file_of(state_dir, name)
            if file.exists():
                return read(file).token
    return ""

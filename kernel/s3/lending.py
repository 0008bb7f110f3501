"""The credentials of boot's machine, lent to nodes that lack its AWS profile.

They stand in Ray's key-value store, and nowhere else: in no argument of an actor, no log, no status, no file. Whoever
may talk to this Ray may read them there, as he may read all else of its processes. Credentials that end by themselves
are lent as they are when boot starts: where a profile has such, each machine needs it.
"""

from __future__ import annotations

import os
from typing import Final

import boto3
import msgspec
from botocore.exceptions import ProfileNotFound

from kernel.raylib import kv
from sigmaos_ray import debug, decoding

_log = debug.selector("S3")

_KEY: Final = "sigmaos-s3-lent-"


class _Lent(msgspec.Struct, frozen=True):
    key: str
    secret: str
    token: str | None
    region: str | None

    def __repr__(self) -> str:
        return "_Lent(...)"


_decode: Final = decoding.json_decoder(_Lent)


def lend(profile: str) -> None:
    """Lends what a profile of this machine has; nothing if it has no credentials. Blocks, for boto3 and for Ray."""
    session = boto3.Session(profile_name=profile)
    credentials = session.get_credentials()
    frozen = credentials.get_frozen_credentials() if credentials is not None else None
    if frozen is not None and frozen.access_key and frozen.secret_key:
        lent = _Lent(frozen.access_key, frozen.secret_key, frozen.token, session.region_name)
        kv.put(_KEY + profile, msgspec.json.encode(lent))


def end(profile: str) -> None:
    """Lends no more."""
    kv.delete(_KEY + profile)


def session_of(profile: str | None) -> boto3.Session:
    """A session with a profile: this machine's, or else what was lent. ProfileNotFound if there is neither."""
    try:
        return boto3.Session(profile_name=profile)
    except ProfileNotFound:
        lent = kv.get(_KEY + (profile or ""))
        if not lent:
            raise
    _log(f"profile {profile} is not on {os.uname().nodename}: its credentials are those of boot's machine")
    held = _decode(lent)
    return boto3.Session(
        aws_access_key_id=held.key,
        aws_secret_access_key=held.secret,
        aws_session_token=held.token,
        region_name=held.region,
    )

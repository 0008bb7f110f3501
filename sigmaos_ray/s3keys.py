"""S3 credentials of a client outside of SigmaOS, from its environment; procs inherit those of who spawned them.

``SIGMAOS_S3_KEY`` and ``SIGMAOS_S3_SECRET`` (and ``SIGMAOS_S3_TOKEN``, of credentials that end by themselves), or
``SIGMAOS_S3_PROFILE``: an AWS profile whose keys stand in AWS's credentials file. None of them: s3 uses its node's own.
"""

from __future__ import annotations

import configparser
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sigmaos_ray import serr
from sigmaos_ray.sigmap import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping

SERVICE: Final = "s3"
KEY: Final = "SIGMAOS_S3_KEY"
SECRET: Final = "SIGMAOS_S3_SECRET"
TOKEN: Final = "SIGMAOS_S3_TOKEN"
PROFILE: Final = "SIGMAOS_S3_PROFILE"


def secrets_of(environ: Mapping[str, str] = os.environ) -> tuple[Secret, ...]:
    """What the environment says; empty if nothing. Inval for half of a pair, Perm for a profile without keys."""
    key, secret = environ.get(KEY, ""), environ.get(SECRET, "")
    if bool(key) != bool(secret):
        raise serr.Inval(KEY if secret else SECRET, f"{KEY} and {SECRET} are set together")
    if key:
        return (Secret(SERVICE, key, secret, environ.get(TOKEN, "")),)
    profile = environ.get(PROFILE, "")
    return (_of_profile(profile, environ),) if profile else ()


def _of_profile(profile: str, environ: Mapping[str, str]) -> Secret:
    files = {
        environ.get("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"): profile,
        environ.get("AWS_CONFIG_FILE", "~/.aws/config"): f"profile {profile}",
    }
    for file, section in files.items():
        parser = configparser.ConfigParser(strict=False, interpolation=None)
        try:
            parser.read(Path(file).expanduser())
            found = parser[section]
            key, secret = found["aws_access_key_id"], found["aws_secret_access_key"]
        except (configparser.Error, KeyError, UnicodeDecodeError):
            continue
        return Secret(SERVICE, key, secret, found.get("aws_session_token", ""))
    named = " or ".join(files)
    raise serr.Perm(profile, f"{PROFILE}: no aws_access_key_id and aws_secret_access_key of this profile in {named}")

"""``env``: what other programs need to use the instance's Ray, etcd and S3, and who else is to be its client."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final
from urllib.parse import quote, urlsplit

import typer

from sigmaos_ray.auth.files import FILE_VARIABLE, TOKEN_VARIABLE
from sigmaos_ray.cli import context
from sigmaos_ray.cli.context import print_json
from sigmaos_ray.instance import s3_secrets
from sigmaos_ray.tls import files

if TYPE_CHECKING:
    from sigmaos_ray.instance import Instance
    from sigmaos_ray.sigmap import Secret

RAY_TOKEN_FILE: Final = "ray-auth-token"
"""In the state directory, of an instance with a Ray of its own."""
EMULATOR_KEY: Final = "sigmaos"
"""Any will do there."""
REGION: Final = "us-east-1"


def register(app: typer.Typer) -> None:
    app.command("env")(env)


def env(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Print what other tools need, for a shell: eval "$(sigmaos env)". With it ray.init(), etcdctl, aws s3 and mc work
    on the instance's Ray, etcd and S3. It has secrets in it."""
    instance = context.running_instance()
    secret = next(iter(s3_secrets()), None)
    state_dir = None if context.is_elsewhere() else Path(instance.state_dir)
    variables = variables_of(instance, state_dir, secret)
    if as_json:
        print_json(variables)
        return
    for name, value in variables.items():
        sys.stdout.write(f"export {name}={shlex.quote(value)}\n")


def variables_of(instance: Instance, state_dir: Path | None, secret: Secret | None) -> dict[str, str]:
    """``state_dir``: where the instance keeps its state, on this machine; None if that is another one. ``secret``: the
    caller's own credentials for S3."""
    variables: dict[str, str] = {}
    if state_dir is not None:
        variables["SIGMAOS_STATE_DIR"] = str(state_dir)
    else:
        variables["SIGMAOS_NAMED"] = ",".join(instance.named.addrs)
        # Who asks from another machine has shown them: whoever takes this over is to be let in as well.
        variables |= {name: os.environ[name] for name in (TOKEN_VARIABLE, FILE_VARIABLE) if os.environ.get(name)}
    variables |= _of_ray(instance, state_dir)
    return variables | _of_etcd(instance) | _of_s3(instance, secret)


def _of_ray(instance: Instance, state_dir: Path | None) -> dict[str, str]:
    if not instance.ray_address:
        return {}
    variables = {"RAY_ADDRESS": instance.ray_address}
    token = state_dir / RAY_TOKEN_FILE if state_dir is not None else None
    # Of a Ray that was joined the token is where it was before.
    if instance.ray_temp_dir and token is not None and token.exists():
        variables |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}
    return variables


def _of_etcd(instance: Instance) -> dict[str, str]:
    if not instance.etcd_endpoints:
        return {}
    scheme = "https://" if instance.etcd_tls else ""
    endpoints = ",".join(f"{scheme}{endpoint}" for endpoint in instance.etcd_endpoints)
    variables = {"ETCDCTL_API": "3", "ETCDCTL_ENDPOINTS": endpoints}
    if instance.etcd_tls and (directory := Path(instance.etcd_tls)).is_dir():
        named = {"CACERT": files.AUTHORITY, "CERT": files.CERTIFICATE, "KEY": files.KEY}
        variables |= {f"ETCDCTL_{name}": str(directory / file) for name, file in named.items()}
    return variables


def _of_s3(instance: Instance, secret: Secret | None) -> dict[str, str]:
    """For AWS's own tools and libraries, and for MinIO's ``mc``, which knows the instance's S3 as ``sigmaos``."""
    if not instance.s3_endpoint and not instance.s3_credentials_profile:
        return {}
    variables: dict[str, str] = {}
    if instance.s3_endpoint:
        variables["AWS_ENDPOINT_URL_S3"] = instance.s3_endpoint
    if secret is not None:
        variables |= _keys(secret.id, secret.key)
        if secret.session_token:
            variables["AWS_SESSION_TOKEN"] = secret.session_token
    elif instance.s3_credentials_profile:
        variables["AWS_PROFILE"] = instance.s3_credentials_profile
    else:
        variables |= _keys(EMULATOR_KEY, EMULATOR_KEY)
    if instance.s3_endpoint and "AWS_ACCESS_KEY_ID" in variables:
        variables["AWS_DEFAULT_REGION"] = REGION
        scheme, host = urlsplit(instance.s3_endpoint)[:2]
        user = ":".join(quote(variables[name], safe="") for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"))
        variables["MC_HOST_sigmaos"] = f"{scheme}://{user}@{host}"
    return variables


def _keys(key: str, secret: str) -> dict[str, str]:
    return {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret}

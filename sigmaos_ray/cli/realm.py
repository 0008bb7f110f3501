"""``realm create``, ``realm ls``, ``realm rm``, ``realm token``: the tenants of the instance, and who may speak for
each."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
import typer

from sigmaos_ray import serr
from sigmaos_ray.auth import files
from sigmaos_ray.cli import context
from sigmaos_ray.config import current
from sigmaos_ray.instance import STATE_FILE_NAME, outside_proc_env, read_instance, state_dir
from sigmaos_ray.realmclnt import RealmClnt
from sigmaos_ray.sigmaclnt import SigmaClnt
from sigmaos_ray.sigmap import ROOT_REALM
from sigmaos_ray.tls.files import AUTHORITY_KEY, tls_dir

if TYPE_CHECKING:
    from sigmaos_ray.auth.files import RealmCredentials

_UNITS_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}

realms = typer.Typer(no_args_is_help=True, help="Tenants: realms with names, services and procs of their own.")


def register(app: typer.Typer) -> None:
    for name, command in (("create", create), ("ls", ls), ("rm", rm), ("token", token)):
        realms.command(name)(command)
    app.add_typer(realms, name="realm")


def create(name: Annotated[str, typer.Argument(help="Of a-z, 0-9 and -, a letter first.")]) -> None:
    """Make a realm; returns when its services answer."""
    with context.client() as sc:
        RealmClnt(sc).make(name)
    print(name)


def ls(json: Annotated[bool, typer.Option("--json", help="For programs.")] = False) -> None:
    """List the realms and their states."""
    with context.client() as sc:
        states = RealmClnt(sc).list()
    if json:
        context.print_json([{"name": name, "state": state} for name, state in states.items()])
    else:
        context.print_table(("REALM", "STATE"), list(states.items()))


def rm(
    name: Annotated[str, typer.Argument(help="The realm.")],
    state: Annotated[bool, typer.Option("--state", help="Forget its files in named and ux, too.")] = False,
) -> None:
    """End a realm's procs and services."""
    with context.client() as sc:
        RealmClnt(sc).remove(name, remove_state=state)


def token(
    name: Annotated[str, typer.Argument(help="The realm.")] = ROOT_REALM,
    rotate: Annotated[bool, typer.Option("--rotate", help="Make another one; the old one is refused then.")] = False,
    lasts: Annotated[str, typer.Option("--for", metavar="TIME", help="One that ends, as 90s, 15m, 8h or 7d.")] = "",
    file: Annotated[str, typer.Option("--file", help="Write a file for SIGMAOS_CREDENTIALS there.")] = "",
) -> None:
    """Print what clients of a realm show: a secret.

    For SIGMAOS_TOKEN on another machine; with --file, for SIGMAOS_CREDENTIALS, which also says where the instance is.
    On the machine where it was started.
    """
    lasts_s = _seconds(lasts) if lasts else 0.0
    if rotate:
        with SigmaClnt(outside_proc_env(realm=ROOT_REALM)) as sc:
            RealmClnt(sc).rotate(name)
    shown = _credentials(name, lasts_s)
    if file:
        files.write(Path(file), shown)
        _add_certificate(Path(file), name)
        print(file)
    else:
        if sys.stdout.isatty():
            print("whoever has this may do all that the realm may:", file=sys.stderr)
        print(shown.token)


def _seconds(text: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text)
    if found is None or not float(found[1]):
        raise serr.Inval(text, "a time is a number and s, m, h or d, as 8h")
    return float(found[1]) * _UNITS_S[found[2]]


def _add_certificate(file: Path, name: str) -> None:
    """Of an instance that speaks TLS."""
    directory = state_dir()
    if (tls_dir(directory) / AUTHORITY_KEY).exists():
        from kernel.boot.certificates import Certificates  # with cryptography, which clients do without

        Certificates(directory, current().certificates).add_to(file, name)


def _credentials(name: str, lasts_s: float) -> RealmCredentials:
    directory = state_dir()
    kept = files.file_of(directory, name)
    if not kept.exists():
        instance = read_instance(directory / STATE_FILE_NAME)
        if instance is not None and instance.named_of(name) is None:
            raise serr.NotFound(name, "no such realm: `sigmaos realm ls` shows them")
        raise serr.NotFound(str(kept), "no credentials here: they are where the instance was started")
    shown = files.read(kept)
    if lasts_s:
        from kernel.boot.authority import TokenAuthority  # with cryptography, which clients do without

        shown = msgspec.structs.replace(shown, token=TokenAuthority(directory).realm_token(name, lasts_s))
    instance = read_instance(directory / STATE_FILE_NAME)
    return msgspec.structs.replace(shown, named=instance.named.addrs) if instance is not None else shown

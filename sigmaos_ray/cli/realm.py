"""``realm``: the tenants of the instance, who may speak for each, and what each may use."""

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
from sigmaos_ray.realmclnt.terms import LIMITS
from sigmaos_ray.sigmaclnt import SigmaClnt
from sigmaos_ray.sigmap import ROOT_REALM
from sigmaos_ray.tls.files import AUTHORITY_KEY, tls_dir

if TYPE_CHECKING:
    from sigmaos_ray.auth.files import RealmCredentials

_UNITS_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}

realms = typer.Typer(no_args_is_help=True, help="Tenants: realms with names, services and procs of their own.")


def register(app: typer.Typer) -> None:
    realms.command()(create)
    realms.command()(ls)
    realms.command()(rm)
    realms.command()(token)
    realms.command()(grant)
    realms.command()(limit)
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


def grant(
    name: Annotated[str, typer.Argument(help="The realm.")],
    bucket: Annotated[list[str] | None, typer.Option("--bucket", help="Of S3; may be repeated.")] = None,
    database: Annotated[bool | None, typer.Option("--database/--no-database", help="The configured one.")] = None,
    revoke: Annotated[bool, typer.Option("--revoke", help="Take the buckets away.")] = False,
) -> None:
    """Let a realm use buckets, with the credentials of its nodes; without options, print what it may.

    A database is another one from the next start of the instance on.
    """
    with context.client() as sc:
        clnt = RealmClnt(sc)
        terms = clnt.terms(name)
        if bucket or database is not None:
            named = set(bucket or ())
            buckets = set(terms.buckets) - named if revoke else set(terms.buckets) | named
            terms = msgspec.structs.replace(
                terms,
                buckets=tuple(sorted(buckets)),
                database=terms.database if database is None else database,
            )
            clnt.agree(name, terms)
    print(f"buckets   {' '.join(terms.buckets) or '-'}\ndatabase  {'configured' if terms.database else 'own'}")


def limit(
    name: Annotated[str, typer.Argument(help="The realm.")],
    sessions: Annotated[int | None, typer.Option(help="Of one server.")] = None,
    fids: Annotated[int | None, typer.Option(help="Open files and directories, of one server.")] = None,
    files_: Annotated[int | None, typer.Option("--files", help="Files and directories in named.")] = None,
    size_bytes: Annotated[int | None, typer.Option("--bytes", help="Of contents in named.")] = None,
    procs_queued: Annotated[int | None, typer.Option(help="Waiting at one schedd.")] = None,
    cores: Annotated[float | None, typer.Option(help="Of one kernel node.")] = None,
    mem_mb: Annotated[float | None, typer.Option(help="Of one kernel node.")] = None,
) -> None:
    """Limit what a realm uses, 0: not more than all; without options, print its limits."""
    asked = {
        "sessions_max": sessions,
        "fids_max": fids,
        "files_max": files_,
        "bytes_max": size_bytes,
        "procs_queued_max": procs_queued,
        "cores_max": cores,
        "mem_mb_max": mem_mb,
    }
    changes = {field: value for field, value in asked.items() if value is not None}
    with context.client() as sc:
        clnt = RealmClnt(sc)
        terms = clnt.terms(name)
        if changes:
            terms = msgspec.structs.replace(terms, **changes)
            clnt.agree(name, terms)
    rows = [
        (field.removesuffix("_max"), f"{getattr(terms, field):g}" if getattr(terms, field) else "-") for field in LIMITS
    ]
    context.print_table(("LIMIT", name.upper()), rows)

"""``realm create``, ``realm ls``, ``realm rm``: the tenants of the instance."""

from __future__ import annotations

from typing import Annotated

import typer

from sigmaos_ray.cli import context
from sigmaos_ray.realmclnt import RealmClnt

realms = typer.Typer(no_args_is_help=True, help="Tenants: realms with names, services and procs of their own.")


def register(app: typer.Typer) -> None:
    for name, command in (("create", create), ("ls", ls), ("rm", rm)):
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

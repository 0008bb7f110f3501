"""``debug``: the selectors of debug output, also of what runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from sigmaos_ray import debug as debugging
from sigmaos_ray.cli.context import client, print_json, print_table

if TYPE_CHECKING:
    from sigmaos_ray.pb import observe_pb2


def register(app: typer.Typer) -> None:
    app.command()(debug)


def debug(
    pathname: Annotated[str | None, typer.Argument(metavar="[PATH]", help="A server: name/ux/~local say.")] = None,
    selectors: Annotated[
        str | None, typer.Argument(metavar="[SELECTORS]", help='As SIGMADEBUG: "UX;WATCH;"; "" for none.')
    ] = None,
    list_all: Annotated[bool, typer.Option("--list", help="List the selectors of the system.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the debug selectors of a running server, or set them; what it prints is in `sigmaos logs`."""
    if list_all:
        _list(as_json)
        return
    if pathname is None:
        raise typer.BadParameter("say --list, or a PATH")
    reply = _ask(pathname, selectors)
    if as_json:
        print_json({"who": reply.who, "selectors": sorted(debugging.parse(reply.selectors))})
    else:
        print(f"{reply.who}: {reply.selectors or 'none'}")


def _list(as_json: bool) -> None:
    from sigmaos_ray.cli.catalogue import catalogue

    selectors = catalogue().debug
    if as_json:
        print_json(dict(selectors))
    else:
        print_table(["SELECTOR", "WHAT"], [[name, line] for name, line in sorted(selectors.items())])


def _ask(pathname: str, selectors: str | None) -> observe_pb2.SelectorsReply:
    from sigmaos_ray.cli import observe
    from sigmaos_ray.pb import observe_pb2 as pb

    request = pb.SelectorsRequest(change=selectors is not None, selectors=selectors or "")
    with client() as sc:
        return observe.call(sc, pathname, "Observe.Selectors", request, pb.SelectorsReply)

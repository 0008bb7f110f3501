"""``mount``: the namespace as a directory of this host."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from sigmaos_ray.cli.context import client


def register(app: typer.Typer) -> None:
    app.command()(mount)


def mount(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="An empty directory.")],
    pathname: Annotated[str, typer.Argument(metavar="[PATH]", help="What is shown there.")] = "name",
    allow_other: Annotated[bool, typer.Option(help="Other users may look, too.")] = False,
) -> None:
    """Show the namespace, or a directory of it, as a directory of this host, until Ctrl-C or `fusermount3 -u DIR`."""
    from sigmaos_ray.mount.mounting import load
    from sigmaos_ray.mount.mounting import mount as mount_until_the_end

    load()
    with client() as sc:
        print(f"{pathname} is at {directory}: Ctrl-C, or fusermount3 -u {directory}, ends it", file=sys.stderr)
        mount_until_the_end(sc, directory, pathname, allow_other=allow_other)

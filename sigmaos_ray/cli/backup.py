"""``backup`` and ``restore``: what named keeps, in a file and back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sigmaos_ray import extras
from sigmaos_ray.cli import context
from sigmaos_ray.instance import tls_elsewhere

if TYPE_CHECKING:
    from collections.abc import Callable


def register(app: typer.Typer) -> None:
    commands: tuple[Callable[..., None], ...] = (backup, restore)
    for command in commands:
        app.command()(command)


def backup(
    file: Annotated[Path, typer.Argument(help="Written whole, or not at all.")],
    etcd: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="One of its members, where no state file says it.")
    ] = None,
) -> None:
    """Save all names and files of named, of all realms, as they are now. What ux and S3 keep is not in it."""
    extras.need("aetcd", for_="sigmaos backup")
    from kernel.boot.backup import back_up

    if etcd is not None:
        endpoints, tls = [etcd], tls_elsewhere()
    else:
        instance = context.instance()
        endpoints, tls = instance.etcd_endpoints, instance.etcd_tls
    size_bytes = back_up(endpoints, file.absolute(), tls)
    print(f"{file}: {size_bytes / 1e6:.1f} MB")


def restore(
    file: Annotated[Path, typer.Argument(help="What `backup` wrote, or the database of a member of etcd.")],
) -> None:
    """Put a backup in the place of what named keeps now. The instance must be stopped."""
    from kernel import boot

    before = boot.restore_instance(context.state_dir(), file)
    print(f"restored from {file}; `sigmaos start` shows it" + (f"; what was there is in {before}" if before else ""))

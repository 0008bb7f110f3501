"""``ls``, ``cat``, ``put``, ``get``, ``rm``, ``mkdir``, ``stat``, ``mv``, ``cp``: files in the namespace."""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from sigmaos_ray import serr
from sigmaos_ray.cli.context import client, print_json, print_table, shown

if TYPE_CHECKING:
    from sigmaos_ray import SigmaClnt
    from sigmaos_ray.sigmap import Stat

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]

COPY_BYTES = 1 << 20


def register(app: typer.Typer) -> None:
    for command in (ls, cat, put, get, rm, mkdir, stat, mv, cp):
        app.command()(command)


def ls(
    pathname: Annotated[str, typer.Argument(metavar="PATH")] = "name/",
    long: Annotated[bool, typer.Option("-l", help="With kind, length and time.")] = False,
    as_json: Json = False,
) -> None:
    """List a directory, or show one file. A link is followed."""
    with client() as sc:
        entries = _list(sc, pathname)
    if as_json:
        print_json([_described(entry) for entry in entries])
    elif long:
        print_table(["KIND", "LENGTH", "CHANGED", "NAME"], [_row(entry) for entry in entries])
    else:
        for entry in entries:
            print(shown(entry.name) + ("/" if entry.is_dir else ""))


def _list(sc: SigmaClnt, pathname: str) -> list[Stat]:
    try:
        return sc.get_dir(pathname)
    except serr.NotDir:
        # A file, or a link: without a slash at its end a pathname means the link itself.
        entry = sc.stat(pathname)
        if entry.is_symlink or entry.is_endpoint:
            return sc.get_dir(pathname.rstrip("/") + "/")
        return [entry]


def _kind(entry: Stat) -> str:
    if entry.is_dir:
        return "dir"
    if entry.is_endpoint:
        return "endpoint"
    return "link" if entry.is_symlink else "file"


def _row(entry: Stat) -> list[str]:
    changed = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(entry.mtime)) if entry.mtime else "-"
    return [_kind(entry), str(entry.length), changed, shown(entry.name)]


def _described(entry: Stat) -> dict[str, object]:
    return {**msgspec.structs.asdict(entry), "qid": msgspec.structs.asdict(entry.qid), "kind": _kind(entry)}


def cat(pathnames: Annotated[list[str], typer.Argument(metavar="PATH...")]) -> None:
    """Print files."""
    with client() as sc:
        for pathname in pathnames:
            with sc.open_reader(pathname) as reader:
                shutil.copyfileobj(reader, sys.stdout.buffer, COPY_BYTES)
    sys.stdout.buffer.flush()


def put(
    local: Annotated[str, typer.Argument(metavar="LOCAL", help="A file of this machine; - is standard input.")],
    pathname: Annotated[str, typer.Argument(metavar="PATH")],
) -> None:
    """Put a local file into the namespace, or replace it there."""
    if local == "-":
        with client() as sc, sc.create_writer(pathname) as writer:
            shutil.copyfileobj(sys.stdin.buffer, writer, COPY_BYTES)
        return
    # The local file first: if it cannot be read, nothing is made or emptied in the namespace.
    with Path(local).open("rb") as source, client() as sc, sc.create_writer(pathname) as writer:
        shutil.copyfileobj(source, writer, COPY_BYTES)


def get(
    pathname: Annotated[str, typer.Argument(metavar="PATH")],
    local: Annotated[str, typer.Argument(metavar="LOCAL", help="A file of this machine; - is standard output.")],
) -> None:
    """Get a file from the namespace. The local file appears whole, or not at all."""
    if local == "-":
        cat([pathname])
        return
    target = Path(local)
    if target.is_dir():
        target /= pathname.rstrip("/").rsplit("/", 1)[-1]
    partial = target.with_name(target.name + ".partial")  # beside it, so that the rename is within one disk
    try:
        with client() as sc, sc.open_reader(pathname) as reader, partial.open("wb") as sink:
            shutil.copyfileobj(reader, sink, COPY_BYTES)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def rm(
    pathnames: Annotated[list[str], typer.Argument(metavar="PATH...")],
    recursive: Annotated[bool, typer.Option("-r", help="Directories with all below them.")] = False,
) -> None:
    """Remove files, links and empty directories."""
    with client() as sc:
        for pathname in pathnames:
            if recursive and sc.stat(pathname).is_dir:
                sc.rmdir(pathname)
            else:
                sc.remove(pathname)


def mkdir(
    pathnames: Annotated[list[str], typer.Argument(metavar="PATH...")],
    parents: Annotated[bool, typer.Option("-p", help="Also what is missing above; what exists is fine.")] = False,
) -> None:
    """Make directories."""
    with client() as sc:
        for pathname in pathnames:
            if parents:
                sc.makedirs(pathname)
            else:
                sc.mkdir(pathname)


def stat(pathname: Annotated[str, typer.Argument(metavar="PATH")], as_json: Json = False) -> None:
    """Show what the server says of a file or directory."""
    with client() as sc:
        entry = sc.stat(pathname)
    if as_json:
        print_json(_described(entry))
        return
    kind, length, changed, name = _row(entry)
    print(f"name     {name}\nkind     {kind}\nlength   {length}\nchanged  {changed}")
    print(f"mode     {entry.mode:#o}\nqid      path {entry.qid.path} version {entry.qid.version}")


def mv(old: str, new: str) -> None:
    """Rename, within one server."""
    with client() as sc:
        sc.rename(old, new)


def cp(source: str, target: str) -> None:
    """Copy a file, also between servers; the target must not exist."""
    with client() as sc:
        sc.copy_file(source, target)

"""``ls``, ``cat``, ``put``, ``get``, ``rm``, ``mkdir``, ``stat``, ``mv``, ``cp``: files in the namespace."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from sigmaos_ray import serr
from sigmaos_ray.cli.context import Failures, client, ending_on_signals, print_json, print_table, shown
from sigmaos_ray.cli.copying import Copier, destinations
from sigmaos_ray.cli.terminal import standard_input
from sigmaos_ray.cli.trees import LocalTree, NamespaceTree, ObjectKind, parts_of

if TYPE_CHECKING:
    from sigmaos_ray import SigmaClnt
    from sigmaos_ray.sigmap import Stat

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


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
    """Print files. Links are followed."""
    with client() as sc, Failures() as failures:
        for pathname in pathnames:
            try:
                _print_file(NamespaceTree(sc), pathname)
            except serr.SigmaError as error:
                failures.tell(error)
        sys.stdout.buffer.flush()


def _print_file(tree: NamespaceTree, pathname: str) -> None:
    entry = tree.look(pathname)
    if entry is None:
        raise serr.NotFound(pathname)
    if entry.kind is ObjectKind.DIRECTORY:
        raise serr.IsDir(pathname)
    with tree.open(pathname) as file:
        for part in parts_of(file):
            sys.stdout.buffer.write(part)
            if entry.kind is ObjectKind.OTHER:
                sys.stdout.buffer.flush()


Recursive = Annotated[bool, typer.Option("-r", "-R", "--recursive", help="Directories with all below them.")]


def put(
    names: Annotated[
        list[str], typer.Argument(metavar="LOCAL... PATH", help="Files of this machine; - is standard input.")
    ],
    recursive: Recursive = False,
) -> None:
    """Put local files into the namespace, or replace them there, each as a whole. With a directory as PATH: into
    that."""
    sources, pathname = _split(names, "PATH")
    with ending_on_signals(), client() as sc, Failures() as failures:
        tree = NamespaceTree(sc)
        if sources == ["-"]:
            with standard_input() as source:
                tree.write(pathname, source, 0o777)
        else:
            Copier(LocalTree(), tree, failures.tell, recursive=recursive).copy_all(sources, pathname)


def get(
    names: Annotated[
        list[str], typer.Argument(metavar="PATH... LOCAL", help="LOCAL: a file of this machine; - is standard output.")
    ],
    recursive: Recursive = False,
) -> None:
    """Get files from the namespace. With a directory as LOCAL: into that. Each local file appears whole, or not at all,
    and keeps its mode if it was there."""
    sources, local = _split(names, "LOCAL")
    if local == "-":
        cat(sources)
        return
    with ending_on_signals(), client() as sc, Failures() as failures:
        Copier(NamespaceTree(sc), LocalTree(), failures.tell, recursive=recursive).copy_all(sources, local)


def _split(names: list[str], last: str) -> tuple[list[str], str]:
    """The sources, and the target."""
    if len(names) < 2:
        raise typer.BadParameter(f"Missing argument '{last}'")
    return names[:-1], names[-1]


def rm(
    pathnames: Annotated[list[str], typer.Argument(metavar="PATH...")],
    recursive: Recursive = False,
) -> None:
    """Remove files, links and empty directories."""
    with client() as sc, Failures() as failures:
        for pathname in pathnames:
            try:
                if recursive and sc.stat(pathname).is_dir:
                    sc.rmdir(pathname)
                else:
                    sc.remove(pathname)
            except serr.SigmaError as error:
                failures.tell(error)


def mkdir(
    pathnames: Annotated[list[str], typer.Argument(metavar="PATH...")],
    parents: Annotated[bool, typer.Option("-p", help="Also what is missing above; what exists is fine.")] = False,
) -> None:
    """Make directories."""
    with client() as sc, Failures() as failures:
        for pathname in pathnames:
            try:
                if parents:
                    sc.makedirs(pathname)
                else:
                    sc.mkdir(pathname)
            except serr.SigmaError as error:
                failures.tell(error)


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


def mv(names: Annotated[list[str], typer.Argument(metavar="SOURCE... TARGET")]) -> None:
    """Rename, within one server. With a directory as TARGET: into that."""
    sources, target = _split(names, "TARGET")
    with client() as sc, Failures() as failures:
        tree = NamespaceTree(sc)
        for source, new in destinations(tree, [(source, tree.last(source)) for source in sources], target):
            try:
                sc.rename(source, new)
            except serr.SigmaError as error:
                failures.tell(error)


def cp(
    names: Annotated[list[str], typer.Argument(metavar="SOURCE... TARGET")],
    recursive: Recursive = False,
) -> None:
    """Copy files, also between servers. With a directory as TARGET: into that. Links below a directory are copied as
    links."""
    sources, target = _split(names, "TARGET")
    with ending_on_signals(), client() as sc, Failures() as failures:
        tree = NamespaceTree(sc)
        Copier(tree, tree, failures.tell, recursive=recursive, keep_links=recursive).copy_all(sources, target)

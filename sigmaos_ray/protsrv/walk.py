"""Walking a server's tree for messages that name a path below a fid.

A server goes no further than its own tree: what a link or a ``~`` component stands for is the client's to find out. So
several functions here raise, on purpose, the error that makes the client walk by itself (N-10).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sigmaos_ray import serr
from sigmaos_ray.protsrv.node import Dir, Node, OpenHow
from sigmaos_ray.sigmap import DMNAMEDPIPE, OREAD, path

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sigmaos_ray.rpcsrv import Caller

_TO_READ: Final = OpenHow(OREAD)


async def walk(start: Node, names: Sequence[str], caller: Caller) -> list[Node]:
    """The nodes along ``names`` as far as the way goes (see ``Dir.walk``); ``.`` stays where it is, ``..`` is Inval:
    clients take it out of their pathnames, and no request climbs above the fid that it was given."""
    if ".." in names:
        raise serr.Inval("..", "a request cannot climb")
    if "." in names:
        return await _walk_with_dots(start, names, caller)
    if not names or path.is_union(names[0]) or start.is_link:
        return []
    if not isinstance(start, Dir):
        raise serr.NotDir(start.name)
    return await start.walk(caller, names)


async def _walk_with_dots(start: Node, names: Sequence[str], caller: Caller) -> list[Node]:
    way: list[Node] = []
    here = start
    for name in names:
        if name != ".":
            step = await walk(here, [name], caller)
            if not step:
                return way
            here = step[0]
        elif not isinstance(here, Dir):
            raise serr.NotDir(here.name)
        way.append(here)
    return way


async def walk_to(start: Node, names: Sequence[str], caller: Caller, *, resolve: bool = False) -> Node:
    """The node that ``names`` end at. Where the server cannot go on alone it answers with what makes the client walk
    by itself: NotDir for a link on the way (or at the end, if it is to be resolved), NotFound of the ``~`` component.
    """
    way = await walk(start, names, caller)
    end = way[-1] if way else start
    # The kind of error is for the client's walk: only NotDir, and NotFound of a union's component, make it go on by
    # itself.
    if len(way) < len(names):
        raise _stopped(end, names[len(way)])
    if resolve and end.is_link:
        raise serr.NotDir(end.name)
    return end


def _stopped(end: Node, missing: str) -> serr.SigmaError:
    if not path.is_union(missing) and (end.is_link or not end.is_dir):
        return serr.NotDir(end.name)
    return serr.NotFound(missing)


async def walk_to_dir(start: Node, names: Sequence[str], caller: Caller) -> Dir:
    """Like ``walk_to``, for a directory that an entry is to be looked up or made in."""
    return as_dir(await walk_to(start, names, caller))


async def walk_to_make(start: Node, names: Sequence[str], caller: Caller) -> Dir:
    """Like ``walk_to_dir``, for a directory that an entry is to be made in: where directories come with their first
    entry, one that is not there will do."""
    try:
        return await walk_to_dir(start, names, caller)
    except serr.NotFound:
        if not isinstance(start, Dir) or {".", ".."}.intersection(names) or any(map(path.is_union, names)):
            raise
        directory = await start.dir_to_come(caller, names)
        if directory is None:
            raise
        return directory


def as_dir(node: Node) -> Dir:
    """The node, NotDir unless it is a directory."""
    if not isinstance(node, Dir):
        raise serr.NotDir(node.name)
    return node


async def read_whole(node: Node, caller: Caller, offset: int, count: int) -> bytes:
    """Opens, reads and closes: a getfile. IsDir and NotSupported for what is no plain file."""
    if node.is_dir:
        raise serr.IsDir(node.name)
    if node.perm & DMNAMEDPIPE:
        raise serr.NotSupported(node.name, "a pipe is opened, and read then")
    file = await node.open(caller, _TO_READ)
    try:
        return await file.read(offset, count)
    finally:
        await file.close()

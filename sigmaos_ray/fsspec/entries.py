"""Pathnames and directory entries in fsspec's terms. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

from sigmaos_ray import serr
from sigmaos_ray.sigmap import DMDEVICE, DMNAMEDPIPE, DMSOCKET, NAMED, OEXCL, Mode, Stat

if TYPE_CHECKING:
    from collections.abc import Iterable

PROTOCOL: Final = "sigma"
_PREFIXES: Final = (f"{PROTOCOL}://", f"{PROTOCOL}::")
_SPECIAL: Final = DMNAMEDPIPE | DMSOCKET | DMDEVICE

Kind = Literal["file", "directory", "link", "other"]
Entry = dict[str, Any]
"""What fsspec calls info: ``name``, ``size`` (bytes, None if unknown), ``type``, and more."""

ROOT: Final[Entry] = {"name": "", "size": 0, "type": "directory"}
"""Above ``name`` there is nothing but ``name``."""


def strip(url: str) -> str:
    """A pathname as SigmaOS has it: no protocol, no slash at either end, none doubled."""
    for prefix in _PREFIXES:
        if url.startswith(prefix):
            url = url[len(prefix) :]
    return "/".join(part for part in url.split("/") if part)


def followed(pathname: str) -> str:
    """The pathname of what a link at the end of ``pathname`` leads to, or of the object itself if it is none."""
    return f"{pathname}/"


def written(pathname: str, flags: Mode) -> str:
    """The pathname of what a write makes or replaces: what a link leads to, but for a file that must not exist: a link
    of that name does."""
    return pathname if flags & OEXCL else followed(pathname)


def parent_of(pathname: str) -> str:
    """The directory of what is not the root."""
    return pathname.rpartition("/")[0]


def is_top(pathname: str) -> bool:
    """True for what always exists: the root and what stands above it."""
    return pathname in ("", NAMED)


def kind_of(stat: Stat) -> Kind:
    """An endpoint file is a directory: the root of the server that it names."""
    if stat.is_dir or stat.is_endpoint:
        return "directory"
    if stat.is_symlink:
        return "link"
    return "other" if stat.mode & _SPECIAL else "file"


def entry_of(pathname: str, stat: Stat) -> Entry:
    """What is told of the object at ``pathname``. Equal entries of a file mean equal contents, as far as its server
    keeps versions."""
    kind = kind_of(stat)
    return {
        "name": pathname,
        "size": {"file": stat.length, "directory": 0}.get(kind),
        "type": kind,
        "mode": stat.perm,
        "mtime": stat.mtime,
        "uid": stat.uid,
        "gid": stat.gid,
        "dev": stat.dev,
        "ino": stat.qid.path,
        "version": stat.qid.version,
    }


def link_to(pathname: str, link: Stat, target: Stat | None) -> Entry:
    """What is told of a symbolic link in a listing: its target, or that there is none."""
    return {**entry_of(pathname, target or link), "islink": True}


def identity(entry: Entry) -> tuple[int, int, int, int]:
    """Moves with the contents, and with the object of that name."""
    return entry.get("dev", 0), entry.get("ino", 0), entry.get("version", 0), entry["size"] or 0


def by_depth(pathnames: Iterable[str]) -> list[list[str]]:
    """Pathnames in groups of one depth, the deepest first: what is removed group by group leaves no full directory."""
    groups: dict[int, list[str]] = {}
    for pathname in pathnames:
        groups.setdefault(pathname.count("/"), []).append(pathname)
    return [groups[depth] for depth in sorted(groups, reverse=True)]


def topmost(pathnames: Iterable[str]) -> list[str]:
    """Those that do not lie below another one."""
    tops: list[str] = []
    # By components, not by characters: "a-b" would stand between "a" and "a/b".
    for pathname in sorted(set(pathnames), key=lambda name: name.split("/")):
        if not tops or not is_below(pathname, tops[-1]):
            tops.append(pathname)
    return tops


def is_below(pathname: str, directory: str) -> bool:
    """True also for the directory itself."""
    return f"{pathname}/".startswith(f"{directory}/")


def byte_range(start: int | None, end: int | None, size: int) -> tuple[int, int]:
    """Offset and length of ``contents[start:end]``, by Python's rules, of contents of ``size`` bytes."""
    first, last, _ = slice(start, end).indices(size)
    return first, max(0, last - first)


def mode_of(mode: str) -> str:
    """One of rb, wb, xb, ab, r+b, whether or not the b is there. Inval for any other."""
    letters = "".join(letter for letter in mode if letter not in "bt")
    if letters not in ("r", "w", "x", "a", "r+") or mode.count("b") + mode.count("t") > 1:
        raise serr.Inval(mode, "files are opened with rb, wb, xb, ab or r+b")
    return f"{letters}b"

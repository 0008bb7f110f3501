"""Path algebra (N-1, N-3): pathnames as text on the outside, as lists of components inside."""

from __future__ import annotations

from typing import Final

from sigmaos_ray.sigmap.constants import ANY, LOCAL

NAME_BYTES_MAX: Final = 255
"""The longest component, in bytes of UTF-8."""


def split(pathname: str) -> list[str]:
    """The components of a pathname: repeated and trailing slashes drop out, ``..`` never climbs above the first
    component. ``.`` as a last component stays (N-14); elsewhere it drops out."""
    parts: list[str] = []
    for part in pathname.split("/"):
        if not part:
            continue
        if parts and parts[-1] == ".":
            parts.pop()
        if part == "..":
            if len(parts) > 1:
                parts.pop()
            continue
        parts.append(part)
    return parts


def join(*parts: str) -> str:
    """One pathname of several, without doubled slashes."""
    return "/".join(p.strip("/") for p in parts if p.strip("/"))


def resolves(pathname: str) -> bool:
    """True if the pathname asks to follow a link that it ends at, by a trailing slash (N-3)."""
    return pathname.endswith("/")


def is_parent(child: str, parent: str) -> bool:
    """True if ``parent`` is a prefix of ``child``, component by component."""
    prefix = split(parent)
    return split(child)[: len(prefix)] == prefix


def dirname(pathname: str) -> str:
    return "/".join(split(pathname)[:-1])


def basename(pathname: str) -> str:
    parts = split(pathname)
    return parts[-1] if parts else ""


def name_beside(name: str, suffix: str) -> str:
    """``name`` with a suffix, and cut where it would be too long for an entry with it."""
    return name.encode()[: NAME_BYTES_MAX - len(suffix)].decode(errors="ignore") + suffix


def is_union(component: str) -> bool:
    """True for ``~any`` and ``~local``, which the client, not the server, resolves."""
    return component in (ANY, LOCAL)


def why_bad_name(name: str) -> str | None:
    """Why a component cannot name a new entry; None if it can."""
    if name in ("", ".", ".."):
        return f"{name!r} cannot be created or removed"
    if "/" in name or "\0" in name:
        return "a name contains neither '/' nor NUL"
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        return "a name is valid Unicode text"
    if size > NAME_BYTES_MAX:
        return f"a name has at most {NAME_BYTES_MAX} bytes, this one {size}"
    return None

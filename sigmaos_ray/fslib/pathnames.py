"""Pathnames as callers give them: checked, and cut into components."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

from sigmaos_ray import serr
from sigmaos_ray.sigmap import path

if TYPE_CHECKING:
    from sigmaos_ray.sigmap import Endpoint

COMPONENTS_MAX: Final = 4096
"""Of a pathname, through however many servers; each takes fewer in one request."""


def parse(pathname: str) -> tuple[list[str], bool]:
    """A pathname's components, at least one, and whether a link at its end is to be followed. Inval for what is no
    pathname."""
    if not isinstance(pathname, str):
        raise serr.Inval(repr(pathname), f"a pathname is text, not {type(pathname).__name__}")
    if "\0" in pathname:
        raise serr.Inval(pathname, "a pathname has no NUL")
    serr.check_utf8("a pathname", pathname)
    parts = path.split(pathname)
    if not parts:
        raise serr.Inval(pathname, "an empty pathname")
    if len(parts) > COMPONENTS_MAX:
        raise too_long(parts)
    return parts, path.resolves(pathname)


def checked_endpoint(endpoint: Endpoint) -> Endpoint:
    """The endpoint as it is. Inval unless messages can carry it."""
    for text in (*endpoint.addrs, endpoint.root, endpoint.realm, *itertools.chain(*endpoint.plain)):
        serr.check_utf8("an endpoint", text)
    return endpoint


def too_long(parts: list[str]) -> serr.Inval:
    """What is raised for a pathname of more than COMPONENTS_MAX components."""
    return serr.Inval("/".join(parts[:3]) + "/...", f"{len(parts)} components: {COMPONENTS_MAX} at most")

"""Errors as callers see them: with the pathname that was asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sigmaos_ray import serr
from sigmaos_ray.sigmap.text import escaped

if TYPE_CHECKING:
    from types import TracebackType


class about:  # reads as a statement: with about(pathname)
    """Within the block, a server's error gets the pathname as its object; what the server named goes to the text."""

    __slots__ = ("_pathname",)

    def __init__(self, pathname: str) -> None:
        self._pathname = pathname

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not isinstance(error, serr.SigmaError):
            return
        pathname = escaped(str(self._pathname))
        if error.obj != pathname:
            component, error.obj = error.obj, pathname
            if component and component not in pathname.rstrip("/").rsplit("/", 1)[-1:]:
                error.msg = f"{component}: {error.msg}" if error.msg else component
            error.args = (error.obj, error.msg)

"""What a worker and its template processes say to each other. Pure.

Over a socket for each template: commands from the worker, some with a descriptor, which comes with the first bytes of
its message; words from the template. Each stands behind its size, as in plain connections.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec

from sigmaos_ray import decoding
from sigmaos_ray.sessp import plain

if TYPE_CHECKING:
    from collections.abc import Callable


class ForkProc(msgspec.Struct, frozen=True, tag="proc"):
    """Fork a process that waits for a proc. With its end of the socket between it and the worker."""

    number: int


class ForkTemplate(msgspec.Struct, frozen=True, tag="template"):
    """Fork a template that imports some modules. With its end of the socket for its own commands."""

    number: int
    modules: list[str]
    program: str = ""
    """Whose modules these are; empty for a function, which each proc brings along."""


class Retire(msgspec.Struct, frozen=True, tag="retire"):
    """End once the processes that were forked have ended."""


class Forked(msgspec.Struct, frozen=True, tag="forked"):
    """A process is there; it may have ended already."""

    number: int
    os_pid: int
    started_ticks: int
    spare: str = ""
    """The log that a proc's process writes to, by its name among the spare ones; empty: none."""


class Unforked(msgspec.Struct, frozen=True, tag="unforked"):
    """The system has no process to give."""

    number: int
    why: str


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """A template has imported its modules."""

    files: dict[str, tuple[int, int, int]]
    """Those that may be edited, with what they were like when they were read (``freshness.stamp_of``)."""
    refusal: str = ""
    """Why its forks would not be like a process that imports the modules itself; empty: they are."""


class Ended(msgspec.Struct, frozen=True, tag="ended"):
    """A process has ended, and all that it left behind."""

    os_pid: int
    wait_status: int
    """As of wait(2)."""


Command: TypeAlias = ForkProc | ForkTemplate | Retire
TemplateWord: TypeAlias = Forked | Unforked | Ready | Ended

_encode: Final = msgspec.msgpack.Encoder().encode
decode_command: Final[Callable[[bytes], Command]] = decoding.msgpack_decoder(Command)  # type: ignore[arg-type]  # a union
decode_word: Final[Callable[[bytes], TemplateWord]] = decoding.msgpack_decoder(TemplateWord)  # type: ignore[arg-type]


def message(content: Command | TemplateWord) -> bytes:
    """As it travels."""
    return plain.message(_encode(content))

"""Status: how a proc ended, as its parent gets it and as it travels. No I/O."""

from __future__ import annotations

import enum
import json
from typing import Final, Self

import msgspec

from sigmaos_ray import serr
from sigmaos_ray.pb import proc_pb2 as pb
from sigmaos_ray.sigmap.text import escaped

_SURROGATE: Final = b"\\ud"
"""Half a character, as JSON in ASCII has it; whole ones beyond 16 bits have two of these."""


class StatusCode(enum.IntEnum):
    OK = 1
    EVICTED = 2
    ERROR = 3
    FATAL = 4


class Status(msgspec.Struct, frozen=True):
    """How a proc ended (X-10). ``data`` is JSON-like; numbers keep their type, tuples arrive as lists."""

    code: StatusCode = StatusCode.OK
    msg: str = ""
    data: object = None
    crashed: bool = False
    """The proc did not report itself: ``msg`` says what happened to its process (X-11)."""

    def __post_init__(self) -> None:
        # What a proc has to say of its end must arrive, be it the text of an error about a file with a broken name.
        if not self.msg.isascii():
            msgspec.structs.force_setattr(self, "msg", escaped(self.msg))

    @classmethod
    def ok(cls) -> Self:
        """The proc did what it was for."""
        return cls()

    @classmethod
    def info(cls, msg: str, data: object = None) -> Self:
        """OK, with something to tell. Inval if ``data`` is not JSON-like."""
        return cls(StatusCode.OK, str(msg), _checked(data))

    @classmethod
    def err(cls, msg: str, data: object = None) -> Self:
        """An error that another try may cure. Inval if ``data`` is not JSON-like."""
        return cls(StatusCode.ERROR, str(msg), _checked(data))

    @classmethod
    def evicted(cls, msg: str = "") -> Self:
        """The proc ended since it was asked to; also one that was still queued then."""
        return cls(StatusCode.EVICTED, msg)

    @classmethod
    def fatal(cls, msg: str) -> Self:
        """An error that no other try cures (X-12)."""
        return cls(StatusCode.FATAL, str(msg))

    @classmethod
    def crash(cls, msg: str) -> Self:
        """``msg`` in the words of X-11: ``exit status 7``, ``signal: killed``."""
        return cls(StatusCode.ERROR, msg, None, True)

    def is_ok(self) -> bool:
        return self.code is StatusCode.OK

    def is_evicted(self) -> bool:
        return self.code is StatusCode.EVICTED

    def is_err(self) -> bool:
        """True for errors that the proc reported and for crashes."""
        return self.code is StatusCode.ERROR

    def is_fatal(self) -> bool:
        return self.code is StatusCode.FATAL

    def is_crash(self) -> bool:
        return self.crashed

    def __str__(self) -> str:
        text = self.code.name
        if self.msg:
            text += f": {self.msg}"
        if self.data is not None:
            text += f" {json.dumps(self.data)}"
        return text

    def to_pb(self) -> pb.ProcStatus:
        """Inval if ``data`` is not JSON-like."""
        data = b"" if self.data is None else _encoded(self.data)
        return pb.ProcStatus(code=self.code.name, msg=self.msg, data=data, crash=self.crashed)

    @classmethod
    def from_pb(cls, message: pb.ProcStatus) -> Self:
        """The status of a message. A code that is not known here, of a newer schedd, is an error that says so."""
        try:
            code = StatusCode(message.code)
        except ValueError:
            return cls(StatusCode.ERROR, f"unknown status code {message.code}: {message.msg}")
        return cls(code, message.msg, json.loads(message.data) if message.data else None, message.crash)


def _encoded(data: object) -> bytes:
    encoded = _as_json(data)
    return _as_json(_escaped(data)) if _SURROGATE in encoded else encoded


def _as_json(data: object) -> bytes:
    try:
        return json.dumps(data, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise serr.Inval("status data", f"not JSON-like: {error}") from error


def _checked(data: object) -> object:
    # When it is made, and by whoever made it: an error while it is sent would cost the proc its whole report.
    if data is not None and _SURROGATE in _as_json(data):
        return _escaped(data)
    return data


def _escaped(data: object) -> object:
    """JSON-like data with what is no UTF-8 in its texts escaped."""
    if isinstance(data, str):
        return escaped(data)
    if isinstance(data, dict):
        return {_escaped(key): _escaped(value) for key, value in data.items()}
    return [_escaped(each) for each in data] if isinstance(data, list | tuple) else data

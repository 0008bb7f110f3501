"""The error tree. One class for each code and detail of the wire, both directions in one table (rules E-1 to E-5).

    SigmaError
    ├── caller's mistake   Inval BadAttach NotDir IsDir NotFile NotSymlink NotEmpty NotSupported UnknownMsg
    │                      NoCreate NoRemove NoWrite Perm
    ├── state of the tree  NotFound Exists Version
    ├── lost role          Stale
    ├── lost server        Unreachable IOErr Closed (NotLeading) UnknownFid
    ├── the caller's clock Timeout
    ├── try again          Retry
    └── foreign            Error

Where Python has a class for a condition, ours is also that class, so ``except FileNotFoundError`` works.
Whether an error may be retried is decided by membership in the sets at the end, never by its text.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, ClassVar, Final

from sigmaos_ray.sigmap import path
from sigmaos_ray.sigmap.text import escaped, is_utf8

if TYPE_CHECKING:
    from collections.abc import Sequence


class Code(enum.IntEnum):
    """What travels on the wire. Numbers are SigmaOS's; TIMEOUT is ours."""

    # What is left out are numbers of SigmaOS's as well: none of them is free for an error of ours.
    NO_ERROR = 0
    BADATTACH = 1
    ISDIR = 8
    NOCREATE = 9
    NOREMOVE = 11
    NOTFOUND = 13
    NOWRITE = 14
    PERM = 16
    UNKNOWNFID = 17
    UNREACHABLE = 20
    NOTSUPPORTED = 21
    INVAL = 22
    UNKNOWNMSG = 23
    NOTDIR = 24
    NOTFILE = 25
    NOTSYMLINK = 26
    NOTEMPTY = 27
    VERSION = 28
    STALE = 29
    EXISTS = 30
    CLOSED = 31
    IO = 33
    RETRY = 34
    ERROR = 35
    TIMEOUT = 36


class SigmaError(Exception):
    """Base of all errors of SigmaOS.

    ``obj`` is the pathname, the component or the thing concerned; ``msg`` the cause, where there is more to say.
    Equal to its pickled self, also inside Ray's and concurrent.futures' wrappers.
    """

    code: ClassVar[Code] = Code.ERROR
    detail: ClassVar[str] = ""
    """Tells a class from its base of the same code. Who does not know it takes the error for the base."""
    text: ClassVar[str] = "error"

    def __init__(self, obj: object = "", msg: str | None = None) -> None:
        # Escaped: whoever tells of it, in a message, a log or on a terminal, would fail by it.
        self.obj = escaped(str(obj))
        self.msg = msg if msg is None else escaped(msg)
        Exception.__init__(self, self.obj, self.msg)

    def __str__(self) -> str:
        words = self.text
        if self.obj:
            words += f": {self.obj}"
        if self.msg:
            words += f" ({self.msg})"
        return words

    # OSError, a base of some of these, has a rule of its own for its arguments, by which they would not come back.
    def __reduce__(self) -> tuple[type[SigmaError], tuple[str, str | None]]:
        return (type(self), (self.obj, self.msg))


class BadAttach(SigmaError):
    code, text = Code.BADATTACH, "cannot attach"


class IsDir(SigmaError, IsADirectoryError):
    code, text = Code.ISDIR, "is a directory"


class NoCreate(SigmaError):
    code, text = Code.NOCREATE, "create prohibited"


class NoRemove(SigmaError):
    code, text = Code.NOREMOVE, "remove prohibited"


class NotFound(SigmaError, FileNotFoundError):
    code, text = Code.NOTFOUND, "file not found"


class NoWrite(SigmaError):
    code, text = Code.NOWRITE, "write prohibited"


class Perm(SigmaError, PermissionError):
    code, text = Code.PERM, "permission denied"


class UnknownFid(SigmaError):
    """The server does not know a fid of the session: it dropped them, or the client made a mistake. Nothing ran."""

    code, text = Code.UNKNOWNFID, "unknown fid"


class Unreachable(SigmaError, ConnectionError):
    """The server cannot be reached; the request was never sent."""

    code, text = Code.UNREACHABLE, "unreachable"


class NotSupported(SigmaError):
    code, text = Code.NOTSUPPORTED, "not supported"


class Inval(SigmaError, ValueError):
    code, text = Code.INVAL, "invalid argument"


class UnknownMsg(SigmaError):
    code, text = Code.UNKNOWNMSG, "unknown message"


class NotDir(SigmaError, NotADirectoryError):
    code, text = Code.NOTDIR, "not a directory"


class NotFile(SigmaError):
    code, text = Code.NOTFILE, "not a file"


class NotSymlink(SigmaError):
    code, text = Code.NOTSYMLINK, "not a symlink"


class NotEmpty(SigmaError, OSError):
    code, text = Code.NOTEMPTY, "directory not empty"


class Version(SigmaError):
    """The thing changed since the caller looked: look again, and decide anew."""

    code, text = Code.VERSION, "version mismatch"


class Stale(SigmaError):
    """The fence is older than what the server has seen: the caller lost its role. Never retried."""

    code, text = Code.STALE, "stale fence"


class Exists(SigmaError, FileExistsError):
    code, text = Code.EXISTS, "file exists"


class Closed(SigmaError):
    """What the request is about was closed, at this end or the other, and does not come back by itself."""

    code, text = Code.CLOSED, "closed"


class NotLeading(Closed):
    """The server refused the request before it did anything for it, since another one leads, or will (S-7).

    So the request may be sent to that one, whatever it asks for. A client of another make sees Closed, "srv expired".
    """

    detail = "not leading"

    def __init__(self, obj: object = "", msg: str | None = "srv expired", leader: Sequence[str] = ()) -> None:
        """``leader``: the addresses of who leads, or is about to, as far as the server knows."""
        super().__init__(obj, msg)
        self.leader = tuple(leader)

    def __reduce__(self) -> tuple[type[NotLeading], tuple[str, str | None, tuple[str, ...]]]:  # type: ignore[override]
        return (type(self), (self.obj, self.msg, self.leader))


class IOErr(SigmaError, OSError):
    """The connection broke after the request was sent: it may have run, or not."""

    code, text = Code.IO, "connection lost, outcome unknown"


class Retry(SigmaError):
    """Not now: the server has too much to do, or another configuration. The same request may succeed later."""

    code, text = Code.RETRY, "retry"


class Error(SigmaError):
    """A foreign error: whatever is not one of the above."""

    code, text = Code.ERROR, "error"


class Timeout(SigmaError, TimeoutError):
    code, text = Code.TIMEOUT, "timed out"


def _all_below(base: type[SigmaError]) -> list[type[SigmaError]]:
    return [cls for child in base.__subclasses__() for cls in (child, *_all_below(child))]


def _classes() -> dict[tuple[int, str], type[SigmaError]]:
    # At import: a class that is missing or there twice would otherwise show when the first such error arrives.
    classes = _all_below(SigmaError)
    table = {(int(cls.code), cls.detail): cls for cls in classes}
    assert len(table) == len(classes), "no two classes have one code and detail"
    assert {code for code, detail in table if not detail} == set(Code) - {Code.NO_ERROR}, "every code has a class"
    return table


CLASSES: Final = _classes()
"""By code and detail."""


def from_code(code: int, obj: str = "", msg: str | None = None, detail: str = "") -> SigmaError:
    """The error that a code on the wire stands for. ``Error`` for a code that is not known here; a detail that is not
    known is passed over, as a newer server may tell errors apart that this client takes for one."""
    cls = CLASSES.get((code, detail)) or CLASSES.get((code, ""))
    if cls is None:
        return Error(obj, msg or f"error code {code}")
    return cls(obj, msg or None)


def wrap(error: BaseException, obj: str = "") -> SigmaError:
    """A SigmaError as it is; anything else as ``Error`` that tells its class and text (E-4)."""
    if isinstance(error, SigmaError):
        return error
    return Error(obj, f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)


# Classes, so that what is below one of them is in the set, too: NotLeading with Closed.
SESSION_ERRORS: Final = (Unreachable, IOErr, Closed)


def _is_union_miss(error: BaseException) -> bool:
    """``~any`` and ``~local`` found no entry: one may be about to come."""
    return isinstance(error, NotFound) and path.is_union(error.obj)


def is_session_error(error: BaseException) -> bool:
    """True if the session is over, or the server cannot be reached: what it kept for the client may be gone."""
    return isinstance(error, SESSION_ERRORS)


def is_walk_ok(error: BaseException) -> bool:
    """True if walking again may help, and nothing of the failed try ran (E-5)."""
    # NotDir is how a server says that a link is on the way of a request that names its file at once: a walk follows it.
    return isinstance(error, Unreachable | UnknownFid | NotDir) or _is_union_miss(error)


def is_retry_open_ok(error: BaseException) -> bool:
    """The same for what may run twice, as an open may: also where nobody knows whether the failed try ran."""
    return is_walk_ok(error) or isinstance(error, IOErr)


def is_unavailable(error: BaseException) -> bool:
    """True if the thing is not there now, whether its server is away or its name."""
    return is_walk_ok(error) or isinstance(error, NotFound)


def check_utf8(what: str, text: str) -> str:
    """The text as it is. Inval that names ``what`` if no message can carry it."""
    if not is_utf8(text):
        raise Inval(text, f"{what}: not valid Unicode text")
    return text

"""What databases and SQLAlchemy raise, as ``serr`` classes: the one place where they are told apart."""

from __future__ import annotations

import sqlite3
from typing import Final

from sqlalchemy import exc

from sigmaos_ray import serr

UNIQUE: Final = frozenset({"SQLITE_CONSTRAINT_UNIQUE", "SQLITE_CONSTRAINT_PRIMARYKEY", "SQLITE_CONSTRAINT_ROWID", 1062})
# Names are SQLite's, numbers MariaDB's, here and below.
BUSY: Final = frozenset({"SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_BUSY_SNAPSHOT", 1205, 1213, 1020})
"""Another transaction was in the way, and this one was undone."""
TOO_LONG: Final = frozenset({"SQLITE_INTERRUPT", 1969, 3024})
AWAY: Final = frozenset({2002, 2003, 2005, 1040, 1045, 1049})
"""No connection could be made, so nothing was sent."""
FORBIDDEN: Final = frozenset({"SQLITE_AUTH", "SQLITE_READONLY", 1142, 1143, 1044})
FULL: Final = frozenset({"SQLITE_FULL", "SQLITE_IOERR"})


def translated(error: Exception, statement: str) -> serr.SigmaError:
    """Exists for what must be unique, Retry for a transaction that was undone since another was in the way, Timeout,
    Unreachable without a connection, IOErr for one that was lost (outcome unknown), Perm, Inval for the rest: what was
    asked is wrong. The text is the database's own."""
    what = shortened(statement)
    original = getattr(error, "orig", None)
    text = str(original if original is not None else error).strip() or type(error).__name__
    code = _code(original)
    # SQLAlchemy's own: no connection came free, so nothing was sent.
    if isinstance(error, exc.TimeoutError):
        return serr.Retry(what, "all connections to the database are in use")
    if code in TOO_LONG:
        return serr.Timeout(what, text)
    if code in UNIQUE:
        return serr.Exists(what, text)
    if code in BUSY:
        return serr.Retry(what, text)
    if code in FORBIDDEN:
        return serr.Perm(what, text)
    if code in AWAY:
        return serr.Unreachable("database", text)
    # Also where the connection broke: a commit may have come through before it did.
    if code in FULL or (isinstance(error, exc.DBAPIError) and error.connection_invalidated):
        return serr.IOErr(what, text)
    return serr.Inval(what, text)


def _code(original: object) -> object:
    """SQLite's name of an error, MariaDB's number."""
    if isinstance(original, sqlite3.Error):
        return getattr(original, "sqlite_errorname", None)
    args = getattr(original, "args", ())
    return args[0] if args else None


def shortened(statement: str) -> str:
    """A statement as the object of an error."""
    line = " ".join(statement.split())
    return line if len(line) <= 100 else f"{line[:97]}..."
